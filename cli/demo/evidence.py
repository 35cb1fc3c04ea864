"""What really happened in a run of the demo: from scrapes, spans, predictions and drift results, nothing else."""

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
from cli.demo.workshop import Pace, Workshop
from drift.result import QUESTIONS, RunResult
from leeway.telemetry import names

MOST_LINKS: Final = 8


@dataclass(frozen=True)
class ActSeen:
    """One act: from when to when, its figures, and the last drift run whose window ended in it."""

    number: int
    act: Act
    start: datetime
    end: datetime
    figures: Figures | None
    run: RunResult | None


@dataclass(frozen=True)
class Pointed:
    """A prediction that a drift run's trace links to. `names` are its unusual features, where it was asked alone."""

    trace_id: str
    prediction_id: str
    unusual: int
    request: str
    at: datetime | None
    names: tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """All that the page and the closing words are made of. Runs are oldest first; traces may be empty."""

    model: str
    pace: Pace
    acts: Sequence[ActSeen]
    figures: Sequence[Figures]
    runs: Sequence[RunResult]
    slow: Sequence[Span]
    run_trace: Sequence[Span]
    pointed: Sequence[Pointed]
    shifts: Sequence[FeatureShift]
    requests: int
    failed: int
    labels: int

    @property
    def last(self) -> RunResult | None:
        """The newest run that could tell."""
        return next((run for run in reversed(self.runs) if run.recommendation != "UNKNOWN"), None)

    def act(self, key: str) -> ActSeen | None:
        """The act of that key."""
        return next((each for each in self.acts if each.act.key == key), None)

    @property
    def farthest(self) -> RunResult | None:
        """The run with the greatest share of drifted features."""
        return farthest(self.runs)


def farthest(runs: Sequence[RunResult]) -> RunResult | None:
    """The run with the greatest share of drifted features, of several the last; None where none drifted."""
    return max((run for run in runs if run.share), key=lambda run: (run.share or 0.0, run.time), default=None)


def gather(shop: Workshop, played: Played, model: str, pace: Pace) -> Evidence:
    """Put together what a finished run left: both processes have ended, so that all of it is there.

    Raises:
        leeway.store.engine.DatabaseError: the predictions cannot be read.
    """
    spans = read_spans(shop.spans)
    acts = [_seen(played, number) for number in range(len(played.began))]
    by_key = {each.act.key: each for each in acts}
    drifted = farthest(played.runs)
    slow, calm = by_key.get("slow"), by_key.get("calm")
    moved = []
    if drifted is not None and calm is not None and drifted.current.start and drifted.current.end:
        moved = read_shifts(
            shop.database_url, (calm.start, calm.end), (drifted.current.start, drifted.current.end), drifted
        )
    run_trace = spans.trace(drifted.trace_id) if drifted is not None and drifted.trace_id else []
    return Evidence(
        model=model,
        pace=pace,
        acts=acts,
        figures=played.samples.over_time,
        runs=played.runs,
        slow=_slow(spans, slow),
        run_trace=run_trace,
        pointed=_pointed(run_trace[0], spans) if run_trace else [],
        shifts=moved,
        requests=played.tally.planned.total(),
        failed=played.tally.failed,
        labels=played.tally.labels,
    )


def _seen(played: Played, number: int) -> ActSeen:
    start, end = played.stretch(number)
    is_last = number == len(played.began) - 1
    inside = [run for run in played.runs if start <= run.time and (run.time < end or is_last)]
    told = [run for run in inside if run.recommendation != "UNKNOWN"]
    figures = played.samples.within(start, end)
    return ActSeen(number + 1, played.acts[number], start, end, figures, told[-1] if told else None)


def _slow(spans: Spans, act: ActSeen | None) -> list[Span]:
    """The trace of a request of that act that was slow."""
    if act is None or act.figures is None or act.figures.latency.p95 is None:
        return []
    return spans.slow_one(act.start, act.end, act.figures.latency.p95)


def _pointed(run: Span, spans: Spans) -> list[Pointed]:
    """The predictions that the run's span links to, those first that were asked alone, and the most unusual of them."""
    found = []
    for link in run.links:
        trace = spans.trace(link.trace_id)
        unusual = [name for span in trace for name in span.attributes.get(names.UNUSUAL_NAMES, ())]
        found.append(
            Pointed(
                link.trace_id,
                str(link.attributes.get(names.PREDICTION_ID, "")),
                int(link.attributes.get(names.UNUSUAL_COUNT, 0)),
                trace[0].name if trace else "not in the file",
                trace[0].start if trace else None,
                tuple(unusual),
            )
        )
    # Requests that were asked alone name their features; the span of a batch names none.
    return sorted(found, key=lambda each: (bool(each.names), each.unusual), reverse=True)[:MOST_LINKS]


def as_json(evidence: Evidence) -> dict[str, Any]:
    """The page's own data as plain JSON: times are ISO 8601, latencies milliseconds, what is unknown is null."""
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
        "pointed": [
            {"trace_id": each.trace_id, "prediction_id": each.prediction_id, "unusual": each.unusual,
             "names": list(each.names)}
            for each in evidence.pointed
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
