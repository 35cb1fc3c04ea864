from __future__ import annotations

import pytest

from cli.doctor.finding import Finding
from cli.doctor.service import Sent, Served, meet, send
from leeway.store.record import SYNTHETIC_HEADER
from tests.cli.doctor.backends import PREDICTED, READY, Reply, a_service, api, backend
from tests.service.processes import closed_port


def met(**changes: Reply) -> tuple[Finding, Served | None]:
    """What comes of meeting a service that answers like this."""
    with backend(a_service(**changes)) as there:
        return meet(there.url, 5)


def asked(**changes: Reply) -> tuple[Finding, Sent | None]:
    """What comes of asking such a service for a prediction."""
    with backend(a_service(**changes)) as there:
        _, served = meet(there.url, 5)
        assert served is not None
        return send(there.url, served, 5)


def test_a_service_says_what_it_serves() -> None:
    """Its model, its features, an example of them, and that it knows checks."""
    finding, served = met()
    assert (finding.state, finding.found) == ("ok", "ready, model churn v1")
    assert served is not None
    assert (served.name, served.version, served.schema.names) == ("churn", "v1", ("age",))
    assert (served.example, served.knows_checks) == ({"features": {"age": 40}}, True)


def test_its_clock_is_read() -> None:
    """Here it is ours."""
    assert met()[0].clock_ahead_s == pytest.approx(0, abs=1.5)


def test_a_service_that_is_not_there_is_said() -> None:
    """With how to start it."""
    finding, served = meet(f"http://127.0.0.1:{closed_port()}", 5)
    assert (finding.state, served) == ("failed", None)
    assert "nobody listens" in finding.found
    assert "leeway serve" in str(finding.next_step)


@pytest.mark.parametrize("other", [{"ready": (404, {})}, {"model": (200, {})}, {"openapi": (200, {"paths": {}})}])
def test_another_program_is_no_service(other: dict[str, Reply]) -> None:
    """Something else has the port, or it is an address of something else."""
    finding, served = met(**other)
    assert (finding.state, served) == ("failed", None)
    assert "is no Leeway" in finding.found


def test_a_page_is_no_service() -> None:
    """What answers with no document at all is no Leeway either."""
    finding, served = met(ready=(200, "<html>"))
    assert (finding.state, served) == ("failed", None)


def test_a_service_that_is_not_ready_says_why() -> None:
    """The part that fails is named."""
    finding, served = met(ready=(503, {"checks": {"bundle": "ok", "spool": "failing", "database": "ok"}}))
    assert (finding.state, finding.found) == ("failed", "not ready: spool failing; model churn v1")
    assert served is not None


def test_a_service_without_its_database_works_and_is_told() -> None:
    """A warning: predictions wait in the spool."""
    finding, _ = met(ready=(200, READY | {"checks": {"bundle": "ok", "spool": "ok", "database": "failing"}}))
    assert finding.state == "warning"
    assert "without its database" in finding.found


def test_a_prediction_is_asked_for_with_its_mark() -> None:
    """So that no drift window counts it; its ids are kept."""
    with backend(a_service()) as there:
        _, served = meet(there.url, 5)
        assert served is not None
        finding, sent = send(there.url, served, 5)
    assert finding.state == "ok"
    assert sent == Sent(PREDICTED["prediction_id"], PREDICTED["trace_id"])
    assert [headers.get(SYNTHETIC_HEADER) for path, headers in there.asked if path == "/predict"] == ["true"]


def test_nothing_is_asked_of_a_service_that_knows_no_checks() -> None:
    """An older one would count the prediction in its drift windows."""
    with backend(a_service(openapi=(200, api(knows_checks=False)))) as there:
        _, served = meet(there.url, 5)
        assert served is not None
        finding, sent = send(there.url, served, 5)
    assert (finding.state, sent) == ("failed", None)
    assert "update the service" in str(finding.next_step)
    assert "/predict" not in [path for path, _ in there.asked]


def test_an_answer_without_a_record_is_a_failure() -> None:
    """The answer is there, and its row will never be; it is still looked for elsewhere."""
    finding, sent = asked(predict=(200, PREDICTED | {"recorded": False}))
    assert finding.state == "failed"
    assert "not recorded" in finding.found
    assert "LEEWAY_SPOOL" in str(finding.next_step)
    assert sent is not None


@pytest.mark.parametrize(("status", "next_step"), [(503, "LEEWAY_RECORDING"), (422, "log"), (500, "look at trace abc")])
def test_a_refusal_says_what_the_service_says(status: int, next_step: str) -> None:
    """Its own words, and where to look further."""
    finding, sent = asked(predict=(status, {"detail": "Try again in a while.", "trace_id": "abc"}))
    assert (finding.state, sent) == ("failed", None)
    assert finding.found == f"refused with status {status}: Try again in a while."
    assert next_step in str(finding.next_step)


def test_a_service_that_goes_away_meanwhile_is_said() -> None:
    """Between the meeting and the question."""
    with backend(a_service()) as there:
        _, served = meet(there.url, 5)
    assert served is not None
    finding, sent = send(there.url, served, 5)
    assert (finding.state, sent) == ("failed", None)
