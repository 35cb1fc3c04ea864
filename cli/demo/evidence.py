"""What happened in a run of the demo, as measured: from scrapes, spans, predictions and drift results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cli.demo.features import FeatureShift, read_shifts
from cli.demo.play import Played
from cli.demo.samples import Figures
from cli.demo.spans import Span, Spans, read_spans
from cli.demo.story import Act
from cli.demo.workspace import DemoTiming, Workspace
from drift.result import RunResult
from leeway.telemetry import names

MOST_LINKS: Final = 8


@dataclass(frozen=True)
class ActSeen:
    """One act: its start and end, its figures, and the last drift run whose window ended in it."""

    number: int
    act: Act
    start: datetime
    end: datetime
    figures: Figures | None
    run: RunResult | None


@dataclass(frozen=True)
class LinkedPrediction:
    """A prediction that a drift run's trace links to. `names` are its unusual features; a batch has none."""

    trace_id: str
    unusual: int
    request: str
    at: datetime | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """Everything that the page and the closing lines show. Runs are oldest first; traces may be empty."""

    model: str
    timing: DemoTiming
    acts: Sequence[ActSeen]
    figures: Sequence[Figures]
    runs: Sequence[RunResult]
    slow: Sequence[Span]
    run_trace: Sequence[Span]
    linked: Sequence[LinkedPrediction]
    shifts: Sequence[FeatureShift]
    requests: int
    failed: int
    labels: int

    @property
    def last(self) -> RunResult | None:
        """The newest run with a recommendation other than UNKNOWN."""
        return _last_known(self.runs)

    def act(self, key: str) -> ActSeen | None:
        """The act with this key."""
        return next((each for each in self.acts if each.act.key == key), None)

    @property
    def farthest(self) -> RunResult | None:
        """The run with the greatest share of drifted features."""
        return farthest(self.runs)


def _last_known(runs: Sequence[RunResult]) -> RunResult | None:
    return next((run for run in reversed(runs) if run.recommendation != "UNKNOWN"), None)


def farthest(runs: Sequence[RunResult]) -> RunResult | None:
    """The run with the greatest share of drifted features, the last one of several; None if nothing drifted."""
    return max((run for run in runs if run.share), key=lambda run: (run.share or 0.0, run.time), default=None)


def gather(workspace: Workspace, played: Played, model: str, timing: DemoTiming) -> Evidence:
    """Collect the evidence of a finished run: both processes have ended, so it is complete.

    Raises:
        leeway.store.engine.DatabaseError: the predictions cannot be read.
    """
    spans = read_spans(workspace.spans)
    acts = [_seen(played, number) for number in range(len(played.began))]
    by_key = {each.act.key: each for each in acts}
    drifted = farthest(played.runs)
    slow, calm = by_key.get("slow"), by_key.get("calm")
    shifted = []
    if drifted is not None and calm is not None and drifted.current.start and drifted.current.end:
        shifted = read_shifts(
            workspace.database_url, (calm.start, calm.end), (drifted.current.start, drifted.current.end), drifted
        )
    run_trace = spans.trace(drifted.trace_id) if drifted is not None and drifted.trace_id else []
    return Evidence(
        model=model,
        timing=timing,
        acts=acts,
        figures=played.samples.over_time,
        runs=played.runs,
        slow=_slow(spans, slow),
        run_trace=run_trace,
        linked=_linked(run_trace[0], spans) if run_trace else [],
        shifts=shifted,
        requests=played.tally.planned.total(),
        failed=played.tally.failed,
        labels=played.tally.labels,
    )


def _seen(played: Played, number: int) -> ActSeen:
    start, end = played.stretch(number)
    is_last = number == len(played.began) - 1
    inside = [run for run in played.runs if start <= run.time and (run.time < end or is_last)]
    return ActSeen(number + 1, played.acts[number], start, end, played.samples.within(start, end), _last_known(inside))


def _slow(spans: Spans, act: ActSeen | None) -> list[Span]:
    """The trace of a slow request in that act."""
    if act is None or act.figures is None or act.figures.latency.p95 is None:
        return []
    return spans.slow_one(act.start, act.end, act.figures.latency.p95)


def _linked(run: Span, spans: Spans) -> list[LinkedPrediction]:
    """The predictions that the run's span links to: single ones first, the most unusual first."""
    found = []
    for link in run.links:
        trace = spans.trace(link.context.trace_id)
        unusual = [name for span in trace for name in span.attributes.get(names.UNUSUAL_NAMES, ())]
        found.append(
            LinkedPrediction(
                link.context.trace_id,
                int(link.attributes.get(names.UNUSUAL_COUNT, 0)),
                trace[0].name if trace else "not in the spans file",
                trace[0].start if trace else None,
                tuple(unusual),
            )
        )
    # Spans of single predictions name their features; spans of batches do not.
    return sorted(found, key=lambda each: (bool(each.names), each.unusual), reverse=True)[:MOST_LINKS]
