from __future__ import annotations

import re

from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from drift.telemetry.otel import OTelDriftProbe
from drift.telemetry.probe import STAGES
from leeway.telemetry import names
from tests.drift.cycles import RATE, WINDOW_S, World
from tests.drift.standins import calm_rows
from tests.drift.telemetry.cycle.told import ONLY_KEPT, Told, broken
from tests.telemetry import Telemetry, attributes_of, parent_id, span_id, trace_id


def test_a_run_is_one_trace_with_its_stages(told: Told) -> None:
    """A root, and below it the five stages in their order."""
    spans = sorted(told.telemetry.spans(), key=lambda span: span.start_time or 0)
    assert [span.name for span in spans] == [names.SPAN_DRIFT_RUN, *STAGES]
    assert {trace_id(span) for span in spans} == {trace_id(told.root)}
    assert [parent_id(span) for span in spans] == [None, *[span_id(told.root)] * len(STAGES)]


def test_the_run_s_span_says_what_came_of_it(told: Told) -> None:
    """Id, window, decision, share, sizes, the features that drifted, and where the report is."""
    result, attributes = told.result, attributes_of(told.root)
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
        names.MODEL_VERSION: told.world.bundle.version,
    }
    assert told.root.status.status_code is StatusCode.UNSET


def test_the_run_is_stored_with_its_trace(told: Told) -> None:
    """The row, the result and the page of runs name the trace."""
    assert told.row["trace_id"] == told.result["trace_id"] == trace_id(told.root)
    assert trace_id(told.root) in (told.world.reports.path / "runs" / told.row["run_id"] / "result.json").read_text()


def test_evidently_s_report_is_written_and_asks_for_nothing(told: Told) -> None:
    """The page is Evidently's own, whole, and no tag in it loads from the network."""
    page = (told.world.reports.path / "runs" / told.row["run_id"] / "report.html").read_text()
    assert len(page) > 1_000_000
    assert re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=[\"']?(?:https?:)?//", page) == []


def test_the_run_links_to_its_most_unusual_predictions(told: Told) -> None:
    """Twenty links, sampled, to spans that were recorded with their predictions, and no two alike."""
    links = told.root.links
    ids = {(format_trace_id(link.context.trace_id), format_span_id(link.context.span_id)) for link in links}
    kept = {(f"{number:032x}", f"{number:016x}") for number in range(1, ONLY_KEPT + 1)}
    assert len(links) == 20
    assert len(ids) == 20
    assert ids <= kept
    assert all(link.context.trace_flags.sampled for link in links)
    assert {(link.attributes or {})[names.UNUSUAL_COUNT] for link in links} == {1}


def test_a_failed_run_is_an_error_at_its_stage(telemetry: Telemetry, probe: OTelDriftProbe, world: World) -> None:
    """Root and stage have the status ERROR, the stage the exception, the root its kind."""
    world.serve(calm_rows(RATE))
    world.clock.forward(WINDOW_S)
    world.cycle(probe, compare=broken)()
    (root,), (stage,) = telemetry.spans(names.SPAN_DRIFT_RUN), telemetry.spans(names.SPAN_COMPARE)
    assert (root.status.status_code, stage.status.status_code) == (StatusCode.ERROR, StatusCode.ERROR)
    assert [event.name for event in stage.events] == ["exception"]
    assert attributes_of(root)[names.ERROR_TYPE] == "other"


def test_a_quiet_night_is_no_error(telemetry: Telemetry, probe: OTelDriftProbe, world: World) -> None:
    """Too few rows: UNKNOWN and why, all five stages, and no span with an error."""
    world.cycle(probe)()
    (root,) = telemetry.spans(names.SPAN_DRIFT_RUN)
    assert {span.status.status_code for span in telemetry.spans()} == {StatusCode.UNSET}
    assert len(telemetry.spans()) == 1 + len(STAGES)
    assert attributes_of(root)[names.DRIFT_RECOMMENDATION] == "UNKNOWN"
    assert names.ERROR_TYPE not in attributes_of(root)


def test_a_run_without_a_report_names_none(telemetry: Telemetry, probe: OTelDriftProbe, world: World) -> None:
    """Of a quiet night only the first run has a page: the others' spans lead to no missing one."""
    cycle = world.cycle(probe)
    cycle()
    cycle()
    named = [names.DRIFT_REPORT_URL in attributes_of(span) for span in telemetry.spans(names.SPAN_DRIFT_RUN)]
    assert named == [True, False]
