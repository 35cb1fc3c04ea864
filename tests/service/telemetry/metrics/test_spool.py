from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.telemetry import names
from service.__main__ import assemble
from tests.service.observed import Observed, captured_log, entries, observed_service
from tests.telemetry import telemetry_in_memory


def test_recorded_answers_are_counted(service: Observed) -> None:
    """Each answer that went into the spool counts."""
    service.predict()
    service.predict_customer()
    assert service.telemetry.collect().total(names.LOG_SPOOLED) == 2


def test_the_spool_is_held_against_its_limit(service: Observed) -> None:
    """Bytes in use and the most that may be used are both told."""
    measured = service.telemetry.collect()
    assert measured.total(names.SPOOL_LIMIT) == service.settings.spool_limit
    assert 0 < measured.total(names.SPOOL_SIZE) < service.settings.spool_limit


def test_of_several_workers_one_reports_on_the_spool(service: Observed) -> None:
    """The spool is shared: were all to report it, a sum over the instances would count it many times."""
    with telemetry_in_memory() as telemetry, ExitStack() as stack:
        assemble(service.settings, telemetry.providers, stack, is_first=False)
        metrics = telemetry.collect().metrics
    assert not {names.LOG_BACKLOG.name, names.SPOOL_SIZE.name, names.SPOOL_LIMIT.name} & metrics.keys()


def test_a_spool_that_was_closed_is_a_gap(bundle: Bundle, people: Population, tmp_path: Path) -> None:
    """The last flush, after the spool was closed, tells no backlog and logs no error."""
    with observed_service(bundle, tmp_path, people) as service:
        settings = service.settings
    with captured_log() as log, telemetry_in_memory() as telemetry:
        with ExitStack() as stack:
            assemble(settings, telemetry.providers, stack)
        measured = telemetry.collect()
    assert measured.points(names.LOG_BACKLOG) == []
    assert entries(log) == []
