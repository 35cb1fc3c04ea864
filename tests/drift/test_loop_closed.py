"""From a served request to the drift that it is part of, in one process: the real API, spool, drainer and worker."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import format_span_id, format_trace_id

from drift.comparison.evidently import evidently_page
from drift.inputs import BundleReloader, ServedPredictions
from drift.report.folder import ReportFolder
from drift.result import RunResult, Verdict
from drift.verdicts.confirmation import Policy
from drift.worker import Cycle
from leeway.data.population import Population, population
from leeway.model.bundle import Bundle
from leeway.store.drift_runs import DriftLog
from leeway.store.engine import open_engine
from leeway.store.snapshots import Snapshots
from leeway.store.tables import tables_for
from leeway.telemetry import names
from tests.drift.worlds import IDENTITY, Clock, RememberingProbe, a_probe
from tests.fakes import Service
from tests.fixtures import Serve
from tests.leeway.data.measured import MOVED
from tests.service.observed import observed_service
from tests.telemetry import Measured, attributes_of, span_id, telemetry_in_memory, trace_id

AS_OF = date(2026, 2, 28)
CUSTOMERS = 260
LABELLED = 700
EXTENT: dict[str, Any] = {"window_s": 600, "min_subjects": 200}


@dataclass(frozen=True)
class Loop:
    """What was answered, and what telemetry holds of service and worker."""

    answers: list[dict[str, Any]]
    requests: list[ReadableSpan]
    run: ReadableSpan
    measured: Measured


@pytest.fixture(scope="module")
def loop(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """Customers send requests during covariate drift; then the worker makes one run."""
    folder = tmp_path_factory.mktemp("loop")
    worse = population(1, customers=CUSTOMERS, covariate_drift=1)
    with ExitStack() as stack:
        service = stack.enter_context(observed_service(bundle, folder, people))
        worker = stack.enter_context(telemetry_in_memory(IDENTITY))
        answers = [service.predict(worse.row(place)).json() for place in range(CUSTOMERS)]
        engine = open_engine(service.settings.database_url)
        stack.callback(engine.dispose)
        wait_for(engine, bundle, CUSTOMERS)
        tables, clock = tables_for(bundle.schema), Clock(datetime.now(UTC) + timedelta(seconds=1))
        Cycle(
            ServedPredictions(BundleReloader(bundle.folder, engine), max_labels=2_000),
            DriftLog(engine, tables),
            ReportFolder(folder / "reports"),
            a_probe(worker, bundle, clock),
            **EXTENT,
            policy=Policy(),
            make_page=evidently_page,
            now=clock,
        )()
        (run,) = worker.spans(names.SPAN_DRIFT_RUN)
        yield Loop(answers, service.telemetry.server_spans(), run, worker.collect())


def wait_for(engine: sa.Engine, bundle: Bundle, rows: int) -> None:
    """Wait until the drainer has written this many predictions to the database."""
    table, deadline_s = tables_for(bundle.schema).predictions, time.monotonic() + 20
    while time.monotonic() < deadline_s:
        with engine.connect() as connection:
            if connection.scalar(sa.select(sa.func.count()).select_from(table)) == rows:
                return
        time.sleep(0.05)
    raise AssertionError("the drainer did not write the predictions in time")


def test_drift_of_served_predictions_is_a_metric(loop: Loop, bundle: Bundle) -> None:
    """The share of drifted features of the active model is above its threshold."""
    (point,) = loop.measured.points(names.DRIFT_SHARE, {names.MODEL_VERSION: bundle.version})
    assert point.value >= 0.3
    assert {answer["model"]["version"] for answer in loop.answers} == {bundle.version}


def test_the_drifted_features_are_found(loop: Loop) -> None:
    """The detected features are those that the scenario shifts, in the metric and on the span."""
    points = loop.measured.points(names.DRIFT_FEATURE_DETECTED)
    detected = {point.attributes[names.FEATURE_NAME] for point in points if point.value == 1}
    assert detected <= MOVED
    assert len(detected) >= 5
    assert set(attributes_of(loop.run)[names.DRIFT_DETECTED_FEATURES]) == detected


def test_the_run_links_to_served_requests(loop: Loop) -> None:
    """Each link is the server span of a request, with the id of its prediction."""
    served = {(trace_id(span), span_id(span)) for span in loop.requests}
    answered = {answer["prediction_id"]: answer["trace_id"] for answer in loop.answers}
    assert 1 <= len(loop.run.links) <= 20
    for link in loop.run.links:
        ids = format_trace_id(link.context.trace_id), format_span_id(link.context.span_id)
        assert ids in served
        assert answered[str((link.attributes or {})[names.PREDICTION_ID])] == ids[0]


def test_the_window_contains_all_answers(loop: Loop) -> None:
    """As many rows and subjects as answers."""
    attributes = attributes_of(loop.run)
    assert (attributes[names.DRIFT_ROWS], attributes[names.DRIFT_SUBJECTS]) == (CUSTOMERS, CUSTOMERS)


# --- labels come late, and by two ways ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def turned() -> Population:
    """Customers with the usual features whose labels no longer follow from them."""
    return population(1, customers=LABELLED, concept_drift=1)


def looked_at(service: Service, policy: Policy | None = None) -> RunResult:
    """The result of one run over this service's predictions."""
    service.move()
    probe = RememberingProbe()
    Cycle(
        ServedPredictions(BundleReloader(service.bundle.folder, service.engine), max_labels=2_000),
        DriftLog(service.engine, service.tables),
        ReportFolder(service.database.parent.parent / "reports"),
        probe,
        **EXTENT,
        policy=policy or Policy(),
        now=Clock(datetime.now(UTC) + timedelta(seconds=1)),
    )()
    (result,) = probe.results
    return result


def ask(service: Service, items: list[dict[str, Any]]) -> list[str]:
    """Predict these items in one batch; return the ids of the predictions."""
    return [each["prediction_id"] for each in service.post("/predict/batch", {"items": items}).json()["results"]]


def feed_back(service: Service, ids: list[str], labels: list[int]) -> None:
    """Send labels to the service."""
    items = [{"prediction_id": one, "label": label} for one, label in zip(ids, labels, strict=True)]
    assert service.post("/feedback", {"items": items}).status_code == 202


def test_labels_by_feedback_ask_for_retraining(serve: Serve, bundle: Bundle, turned: Population) -> None:
    """Labels by POST /feedback: performance is act while no feature drifted, RETRAIN at once."""
    service = serve(bundle)
    ids = ask(service, [{"features": turned.row(place)} for place in range(LABELLED)])
    feed_back(service, ids, turned.labels)
    result = looked_at(service)
    assert result.verdicts["covariate"].state == "ok"
    assert result.verdicts["performance"].state == "act"
    assert (result.decision, result.recommendation) == ("NO_ACTION", "RETRAIN")
    assert result.performance.labels == LABELLED


def test_labels_by_an_ingested_month_ask_for_retraining(serve: Serve, bundle: Bundle, turned: Population) -> None:
    """Labels by ingesting the month again are matched with its predictions."""
    service = serve(bundle)
    snapshots = Snapshots(service.engine, service.tables)
    snapshots.ingest(AS_OF, turned.user_ids, turned.columns, None)
    ask(service, [{"user_id": user_id} for user_id in turned.user_ids])
    snapshots.ingest(AS_OF, turned.user_ids, turned.columns, turned.labels)
    result = looked_at(service)
    assert result.verdicts["covariate"].state == "ok"
    assert result.verdicts["performance"].state == "act"
    assert result.recommendation == "RETRAIN"
    assert result.performance.labels == LABELLED


def test_too_few_labels_are_unknown(serve: Serve, bundle: Bundle, turned: Population) -> None:
    """One label below the minimum: performance is unknown and says how many are needed."""
    service = serve(bundle)
    ids = ask(service, [{"features": turned.row(place)} for place in range(LABELLED)])
    feed_back(service, ids[:199], turned.labels[:199])
    verdict = looked_at(service).verdicts["performance"]
    assert verdict == Verdict("unknown", "199 labels so far; 200 are needed.")
