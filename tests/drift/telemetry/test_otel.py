from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from drift.comparison.evidently import evidently_page
from drift.telemetry.otel import UNKNOWN_KINDS, OTelDriftProbe
from drift.telemetry.probe import STAGES
from leeway.model.bundle import Bundle
from leeway.store.predictions import PredictionLabel
from leeway.telemetry import names
from tests.drift.worlds import IDENTITY, INTERVAL_S, RATE, WINDOW_S, World, a_probe, a_world, calm_rows, shifted_rows
from tests.telemetry import Measured, Telemetry, attributes_of, parent_id, span_id, telemetry_in_memory, trace_id

ONLY_KEPT = 45
"""How many predictions of the real window have a trace that was kept."""


@dataclass(frozen=True)
class ObservedRun:
    """A run, and what telemetry holds of it."""

    world: World
    telemetry: Telemetry
    measured: Measured

    @property
    def row(self) -> dict[str, Any]:
        """The run in the database."""
        (row,) = self.world.runs()
        return row

    @property
    def result(self) -> dict[str, Any]:
        """Its result document."""
        return dict(self.row["result"])

    @property
    def root(self) -> ReadableSpan:
        """Its span."""
        (span,) = self.telemetry.spans(names.SPAN_DRIFT_RUN)
        return span


def broken(*_arguments: object, **_options: object) -> NoReturn:
    """A comparison that fails."""
    raise ZeroDivisionError("in the middle of it")


@pytest.fixture(scope="module")
def observed(tmp_path_factory: pytest.TempPathFactory, small_model: Bundle) -> Iterator[ObservedRun]:
    """One real run with Evidently, over a drifted window with labels; some predictions' traces were sampled."""
    with ExitStack() as stack:
        world = stack.enter_context(a_world(tmp_path_factory.mktemp("observed"), small_model))
        telemetry = stack.enter_context(telemetry_in_memory(IDENTITY))
        records = world.serve(shifted_rows(RATE - ONLY_KEPT), seconds=600)
        world.serve(shifted_rows(ONLY_KEPT, seed=5), start_s=600, seconds=300, traced=True, unusual_features=1)
        labels = [PredictionLabel(each.prediction_id, each.prediction) for each in records]
        world.log.write_labels(labels, datetime.now(UTC))
        world.clock.forward(WINDOW_S)
        world.cycle(a_probe(telemetry, world.bundle, world.clock), make_page=evidently_page)()
        yield ObservedRun(world, telemetry, telemetry.collect())


@pytest.fixture(autouse=True)
def _release_connections(observed: ObservedRun) -> Iterator[None]:
    """No test keeps a connection to the database that they share."""
    yield
    observed.world.engine.dispose()


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Telemetry of a worker before its first run."""
    with telemetry_in_memory(IDENTITY) as made:
        yield made


@pytest.fixture
def probe(telemetry: Telemetry, world: World) -> OTelDriftProbe:
    """Its probe."""
    return a_probe(telemetry, world.bundle, world.clock)


# --- spans ----------------------------------------------------------------------------------------------------------


def test_a_run_is_one_trace_with_its_stages(observed: ObservedRun) -> None:
    """A root span, and the five stages as its children, in order."""
    spans = sorted(observed.telemetry.spans(), key=lambda span: span.start_time or 0)
    assert [span.name for span in spans] == [names.SPAN_DRIFT_RUN, *STAGES]
    assert {trace_id(span) for span in spans} == {trace_id(observed.root)}
    assert [parent_id(span) for span in spans] == [None, *[span_id(observed.root)] * len(STAGES)]


def test_the_span_of_a_run_has_its_result(observed: ObservedRun) -> None:
    """Id, window, decision, share, sizes, drifted features, and the report's address."""
    result, attributes = observed.result, attributes_of(observed.root)
    assert attributes == {
        names.DRIFT_RUN_ID: result["run_id"],
        names.DRIFT_WINDOW_START: result["current"]["from"],
        names.DRIFT_WINDOW_END: result["current"]["to"],
        names.DRIFT_RECOMMENDATION: "INVESTIGATE",
        names.DRIFT_DECISION: "RETRAIN",
        names.DRIFT_REASON: result["reason"],
        names.DRIFT_SHARE.name: result["share"],
        names.DRIFT_ROWS: RATE,
        names.DRIFT_SUBJECTS: RATE,
        names.DRIFT_DETECTED_FEATURES: ["age"],
        names.DRIFT_REPORT_URL: f"http://reports/runs/{result['run_id']}/",
        names.MODEL_VERSION: observed.world.bundle.version,
    }
    assert observed.root.status.status_code is StatusCode.UNSET


def test_the_run_is_stored_with_its_trace(observed: ObservedRun) -> None:
    """The row, the result and the page of runs name the trace."""
    assert observed.row["trace_id"] == observed.result["trace_id"] == trace_id(observed.root)
    assert (
        trace_id(observed.root)
        in (observed.world.reports.path / "runs" / observed.row["run_id"] / "result.json").read_text()
    )


def test_evidently_s_report_is_written_and_loads_nothing(observed: ObservedRun) -> None:
    """The page is Evidently's own, complete, and no tag in it loads from the network."""
    page = (observed.world.reports.path / "runs" / observed.row["run_id"] / "report.html").read_text()
    assert len(page) > 1_000_000
    assert re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?(?:https?:)?//", page) == []


def test_the_run_links_to_its_most_unusual_predictions(observed: ObservedRun) -> None:
    """Twenty links, sampled, to different spans that were recorded with their predictions."""
    links = observed.root.links
    ids = {(format_trace_id(link.context.trace_id), format_span_id(link.context.span_id)) for link in links}
    kept = {(f"{number:032x}", f"{number:016x}") for number in range(1, ONLY_KEPT + 1)}
    assert len(links) == 20
    assert len(ids) == 20
    assert ids <= kept
    assert all(link.context.trace_flags.sampled for link in links)
    assert {(link.attributes or {})[names.UNUSUAL_COUNT] for link in links} == {1}


def test_a_failed_run_is_an_error_at_its_stage(telemetry: Telemetry, probe: OTelDriftProbe, world: World) -> None:
    """Root and stage have the status ERROR, the stage the exception, the root the error type."""
    world.serve(calm_rows(RATE))
    world.clock.forward(WINDOW_S)
    world.cycle(probe, make_page=broken)()
    (root,), (stage,) = telemetry.spans(names.SPAN_DRIFT_RUN), telemetry.spans(names.SPAN_COMPARE)
    assert (root.status.status_code, stage.status.status_code) == (StatusCode.ERROR, StatusCode.ERROR)
    assert [event.name for event in stage.events] == ["exception"]
    assert attributes_of(root)[names.ERROR_TYPE] == "other"


def test_too_few_rows_are_not_an_error(telemetry: Telemetry, probe: OTelDriftProbe, world: World) -> None:
    """UNKNOWN with its reason, all five stages, and no span with an error."""
    world.cycle(probe)()
    (root,) = telemetry.spans(names.SPAN_DRIFT_RUN)
    assert {span.status.status_code for span in telemetry.spans()} == {StatusCode.UNSET}
    assert len(telemetry.spans()) == 1 + len(STAGES)
    assert attributes_of(root)[names.DRIFT_RECOMMENDATION] == "UNKNOWN"
    assert names.ERROR_TYPE not in attributes_of(root)


def test_a_run_without_a_report_has_no_address(telemetry: Telemetry, probe: OTelDriftProbe, world: World) -> None:
    """In a quiet night only the first run has a page, so only its span links to one."""
    cycle = world.cycle(probe)
    cycle()
    cycle()
    named = [names.DRIFT_REPORT_URL in attributes_of(span) for span in telemetry.spans(names.SPAN_DRIFT_RUN)]
    assert named == [True, False]


# --- metrics --------------------------------------------------------------------------------------------------------


WORKERS = tuple(
    metric
    for metric in names.ALL
    if metric.name.startswith("leeway.drift.") or metric in {names.MODEL_PERFORMANCE, names.MODEL_LABELS}
    if metric != names.DRIFT_SEGMENT_SHARE  # of a source only, see test_gauges.py
)
OF_A_RESULT = tuple(
    metric
    for metric in WORKERS
    if metric.kind == "gauge"
    and metric.name.startswith("leeway.drift.")
    and metric
    not in {
        names.DRIFT_THRESHOLD,
        names.DRIFT_INTERVAL,
        names.DRIFT_LAST_SUCCESS,
        names.DRIFT_LAST_CYCLE,
        names.DRIFT_RECOMMENDATION_ACTIVE,
    }
)


@pytest.mark.parametrize("metric", WORKERS, ids=lambda metric: metric.name)
def test_every_metric_is_reported_as_described(observed: ObservedRun, metric: names.Metric) -> None:
    """After a run with labels each metric has its unit, its description and its attributes."""
    found = observed.measured.metrics[metric.name]
    assert (found.unit, found.description) == (metric.unit, metric.description)
    for point in observed.measured.points(metric):
        optional = {names.ERROR_TYPE} if metric == names.DRIFT_RUNS else set()
        assert set(metric.attributes) - optional <= set(point.attributes) <= set(metric.attributes)


def test_the_share_is_the_result_s(observed: ObservedRun) -> None:
    """One series, of the active bundle; one feature of three drifted."""
    (point,) = observed.measured.points(names.DRIFT_SHARE, {names.MODEL_VERSION: observed.world.bundle.version})
    assert point.value == observed.result["share"] == pytest.approx(1 / 3, abs=1e-4)


@pytest.mark.parametrize(
    ("metric", "member"),
    [
        (names.DRIFT_FEATURE_SCORE, "score"),
        (names.DRIFT_FEATURE_THRESHOLD, "threshold"),
        (names.DRIFT_FEATURE_DETECTED, "detected"),
    ],
)
def test_each_feature_has_its_own_series(observed: ObservedRun, metric: names.Metric, member: str) -> None:
    """Score, effective threshold and detection are those of the result, by feature."""
    reported = {point.attributes[names.FEATURE_NAME]: point.value for point in observed.measured.points(metric)}
    assert reported == {each["feature"]: each[member] for each in observed.result["features"]}


def test_the_verdicts_are_numbers(observed: ObservedRun) -> None:
    """0 ok, 1 watch, 2 act, by question."""
    number = {"ok": 0, "watch": 1, "act": 2}
    reported = {
        point.attributes[names.DRIFT_QUESTION]: point.value for point in observed.measured.points(names.DRIFT_VERDICT)
    }
    assert reported == {question: number[each["state"]] for question, each in observed.result["verdicts"].items()}
    assert reported["covariate"] == 2


def test_the_sizes_are_those_of_both_windows(observed: ObservedRun) -> None:
    """Rows and subjects of the reference and of the current window."""
    role = names.DRIFT_WINDOW_ROLE
    for metric in (names.DRIFT_WINDOW_ROWS, names.DRIFT_WINDOW_SUBJECTS):
        reported = {point.attributes[role]: point.value for point in observed.measured.points(metric)}
        assert reported == {"reference": 400, "current": RATE}


def test_live_and_card_figures_are_reported(observed: ObservedRun) -> None:
    """ROC AUC and labels of the card, and of the served predictions."""
    basis, live = names.MODEL_BASIS, observed.result["performance"]
    figure = {names.PERFORMANCE_FIGURE: "roc_auc"}
    areas = {
        point.attributes[basis]: point.value for point in observed.measured.points(names.MODEL_PERFORMANCE, figure)
    }
    labels = {point.attributes[basis]: point.value for point in observed.measured.points(names.MODEL_LABELS)}
    on_card = observed.world.bundle.card.figures["roc_auc"]
    assert areas == {"card": on_card.value, "live": live["figures"]["roc_auc"]["current"]}
    assert labels == {"card": 400, "live": RATE - ONLY_KEPT}


def test_a_run_is_counted_once_and_timed(observed: ObservedRun) -> None:
    """One INVESTIGATE, with a duration."""
    assert observed.measured.total(names.DRIFT_RUNS, {names.DRIFT_RECOMMENDATION: "INVESTIGATE"}) == 1
    assert observed.measured.total(names.DRIFT_RUNS) == 1
    (duration,) = observed.measured.points(names.DRIFT_RUN_DURATION)
    assert (duration.count, tuple(duration.explicit_bounds)) == (1, names.RUN_BUCKETS)
    assert duration.sum > 0


@pytest.mark.parametrize("metric", [names.DRIFT_RUNS, names.DRIFT_RUN_DURATION], ids=["runs", "duration"])
def test_the_run_s_trace_is_its_exemplar(observed: ObservedRun, metric: names.Metric) -> None:
    """From the point on a panel to the run's trace."""
    (exemplar,) = observed.measured.exemplars(metric)
    assert exemplar.trace_id is not None
    assert format_trace_id(exemplar.trace_id) == trace_id(observed.root)


def test_one_recommendation_is_active(observed: ObservedRun) -> None:
    """1 for that of the run, 0 for the three others."""
    points = observed.measured.points(names.DRIFT_RECOMMENDATION_ACTIVE)
    active = {point.attributes[names.DRIFT_RECOMMENDATION]: point.value for point in points}
    assert active == {"NO_ACTION": 0, "INVESTIGATE": 1, "RETRAIN": 0, "UNKNOWN": 0}


def test_before_the_first_run_there_are_counters_and_no_result(telemetry: Telemetry, probe: OTelDriftProbe) -> None:
    """Every recommendation and error type starts at 0, so that the first event is an increase; no gauge has a value."""
    before = telemetry.collect()
    assert probe is not None
    assert {(point.value, *sorted(point.attributes.values())) for point in before.points(names.DRIFT_RUNS)} == {
        (0, "NO_ACTION"),
        (0, "INVESTIGATE"),
        (0, "RETRAIN"),
        *((0, *sorted(("UNKNOWN", kind))) for kind in UNKNOWN_KINDS),
    }
    assert [metric.name for metric in OF_A_RESULT if before.points(metric)] == []


def test_what_is_unknown_is_absent(telemetry: Telemetry, probe: OTelDriftProbe, world: World) -> None:
    """Without labels there is no performance verdict, no live ROC AUC and no target difference: absent, not zero."""
    world.serve(calm_rows(RATE))
    world.clock.forward(WINDOW_S)
    world.cycle(probe)()
    after = telemetry.collect()
    questions = {point.attributes[names.DRIFT_QUESTION] for point in after.points(names.DRIFT_VERDICT)}
    assert questions == {"quality", "covariate", "prediction"}
    assert after.points(names.MODEL_PERFORMANCE, {names.MODEL_BASIS: "live"}) == []
    assert after.points(names.DRIFT_TARGET_DIFFERENCE) == []


def test_a_result_stops_being_reported_after_three_intervals(
    telemetry: Telemetry, probe: OTelDriftProbe, world: World
) -> None:
    """After three intervals without a success the result is absent; the two timestamps remain."""
    world.serve(calm_rows(RATE))
    world.clock.forward(WINDOW_S)
    cycle, finished_s = world.cycle(probe), world.clock.seconds()
    cycle()
    world.clock.forward(3 * INTERVAL_S)
    assert all(telemetry.collect().points(metric) for metric in (names.DRIFT_SHARE, names.DRIFT_VERDICT))
    world.clock.forward(1)
    stale = telemetry.collect()
    assert [metric.name for metric in OF_A_RESULT if stale.points(metric)] == []
    assert [stale.total(metric) for metric in (names.DRIFT_LAST_SUCCESS, names.DRIFT_LAST_CYCLE)] == [finished_s] * 2


def test_a_failure_changes_only_the_last_cycle(telemetry: Telemetry, probe: OTelDriftProbe, world: World) -> None:
    """The last success stays, the last cycle moves, and UNKNOWN is active."""
    world.serve(calm_rows(RATE))
    world.clock.forward(WINDOW_S)
    success_s = world.clock.seconds()
    world.cycle(probe)()
    world.clock.forward(INTERVAL_S)
    world.cycle(probe, make_page=broken)()
    after = telemetry.collect()
    assert after.total(names.DRIFT_LAST_SUCCESS) == success_s
    assert after.total(names.DRIFT_LAST_CYCLE) == success_s + INTERVAL_S
    assert after.total(names.DRIFT_RECOMMENDATION_ACTIVE, {names.DRIFT_RECOMMENDATION: "UNKNOWN"}) == 1


def test_each_error_type_is_counted(telemetry: Telemetry, probe: OTelDriftProbe, world: World) -> None:
    """Too few rows, a failing comparison, reports, bundle and database unavailable: one UNKNOWN each."""
    cycle = world.cycle(probe)
    cycle()
    world.serve(calm_rows(RATE))
    world.clock.forward(WINDOW_S)
    world.cycle(probe, make_page=broken)()
    runs = world.reports.path / "runs"
    runs.rename(world.reports.path / "moved")
    runs.write_text("no folder")
    cycle()
    world.bundle.folder.rename(world.folder / "away")
    cycle()
    (world.folder / "away").rename(world.bundle.folder)
    world.database.parent.rename(world.folder / "away")
    cycle()
    counted = telemetry.collect().points(names.DRIFT_RUNS, {names.DRIFT_RECOMMENDATION: "UNKNOWN"})
    kinds = ("too_few_rows", "other", "reports", "bundle", "database")
    assert {point.attributes[names.ERROR_TYPE]: point.value for point in counted} == {
        **dict.fromkeys(kinds, 1),
        "source": 0,
    }


def test_a_restarted_worker_reports_the_last_result(probe: OTelDriftProbe, world: World) -> None:
    """If its first run fails, the result of the previous process is reported, with its time."""
    world.serve(shifted_rows(RATE))
    world.clock.forward(WINDOW_S)
    success_s = world.clock.seconds()
    world.cycle(probe)()
    world.clock.forward(INTERVAL_S)
    with telemetry_in_memory(IDENTITY) as second:
        world.cycle(a_probe(second, world.bundle, world.clock), make_page=broken)()
        after = second.collect()
    assert after.total(names.DRIFT_SHARE) == pytest.approx(1 / 3, abs=1e-4)
    assert after.total(names.DRIFT_LAST_SUCCESS) == success_s
