"""What happened in a run of the demo, as measured: from scrapes, spans, predictions and drift results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cli.demo.features import FeatureShift, read_shifts
from cli.demo.play import Played
from cli.demo.samples import Figures, Quantiles
from cli.demo.spans import Span, Spans, read_spans
from cli.demo.story import Act
from cli.demo.workspace import DemoTiming, Workspace
from drift.result import QUESTIONS, RunResult
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
    prediction_id: str
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
        return next((run for run in reversed(self.runs) if run.recommendation != "UNKNOWN"), None)

    def act(self, key: str) -> ActSeen | None:
        """The act with this key."""
        return next((each for each in self.acts if each.act.key == key), None)

    @property
    def farthest(self) -> RunResult | None:
        """The run with the greatest share of drifted features."""
        return farthest(self.runs)


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
    known = [run for run in inside if run.recommendation != "UNKNOWN"]
    figures = played.samples.within(start, end)
    return ActSeen(number + 1, played.acts[number], start, end, figures, known[-1] if known else None)


def _slow(spans: Spans, act: ActSeen | None) -> list[Span]:
    """The trace of a slow request in that act."""
    if act is None or act.figures is None or act.figures.latency.p95 is None:
        return []
    return spans.slow_one(act.start, act.end, act.figures.latency.p95)


def _linked(run: Span, spans: Spans) -> list[LinkedPrediction]:
    """The predictions that the run's span links to: single ones first, the most unusual first."""
    found = []
    for link in run.links:
        trace = spans.trace(link.trace_id)
        unusual = [name for span in trace for name in span.attributes.get(names.UNUSUAL_NAMES, ())]
        found.append(
            LinkedPrediction(
                link.trace_id,
                str(link.attributes.get(names.PREDICTION_ID, "")),
                int(link.attributes.get(names.UNUSUAL_COUNT, 0)),
                trace[0].name if trace else "not in the spans file",
                trace[0].start if trace else None,
                tuple(unusual),
            )
        )
    # Spans of single predictions name their features; spans of batches do not.
    return sorted(found, key=lambda each: (bool(each.names), each.unusual), reverse=True)[:MOST_LINKS]


def as_json(evidence: Evidence) -> dict[str, Any]:
    """The page's data as JSON: times in ISO 8601, latencies in milliseconds, unknown values null."""
    return {
        "model": evidence.model,
        "requests": evidence.requests,
        "failed": evidence.failed,
        "labels": evidence.labels,
        "acts": [_act_json(each) for each in evidence.acts],
        "figures": [_figures_json(each) for each in evidence.figures],
        "runs": [_run_json(run) for run in evidence.runs],
        "slow_trace": [_span_json(span) for span in evidence.slow],
        "run_trace": [_span_json(span) for span in evidence.run_trace],
        "linked": [
            {"trace_id": each.trace_id, "prediction_id": each.prediction_id, "unusual": each.unusual,
             "names": list(each.names)}
            for each in evidence.linked
        ],
        "features": [
            {"feature": each.feature, "low": each.low, "high": each.high, "before": list(each.before),
             "after": list(each.after), "mean_before": each.mean_before, "mean_after": each.mean_after}
            for each in evidence.shifts
        ],
    }  # fmt: skip


def _act_json(seen: ActSeen) -> dict[str, Any]:
    return {
        "number": seen.number,
        "key": seen.act.key,
        "title": seen.act.title,
        "from": seen.start.isoformat(),
        "to": seen.end.isoformat(),
        "figures": None if seen.figures is None else _figures_json(seen.figures),
        "run_id": None if seen.run is None else seen.run.run_id,
    }


def _figures_json(figures: Figures) -> dict[str, Any]:
    return {
        "at": figures.at.isoformat(),
        "rate": round(figures.rate, 3),
        "failed": figures.failed,
        "latency_ms": _quantiles_json(figures.latency),
        "by_kind": {kind: _quantiles_json(each) for kind, each in figures.by_kind.items()},
    }


def _quantiles_json(quantiles: Quantiles) -> dict[str, Any]:
    return {"p50": quantiles.p50, "p95": quantiles.p95, "p99": quantiles.p99, "count": quantiles.count}


def _run_json(run: RunResult) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "at": run.time.isoformat(),
        "share": run.share,
        "threshold": run.threshold,
        "recommendation": run.recommendation,
        "roc_auc": run.performance.roc_auc.current,
        "roc_auc_card": run.performance.roc_auc.reference,
        "verdicts": {question: run.verdicts[question].state for question in QUESTIONS},
    }


def _span_json(span: Span) -> dict[str, Any]:
    return {
        "name": span.name,
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "start": span.start.isoformat(),
        "ms": round(span.lasted_ms, 3),
    }
