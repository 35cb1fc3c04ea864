"""An invented run of the demo: samples, spans, results, and the evidence of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from cli.demo.evidence import ActSeen, Evidence, LinkedPrediction
from cli.demo.features import FeatureShift
from cli.demo.samples import NOT_USUAL, USUAL, Figures, Quantiles
from cli.demo.spans import SERVER, Span, SpanContext, SpanLink
from cli.demo.story import story
from cli.demo.workspace import DemoTiming
from drift.result import RunResult, read_result
from leeway.telemetry import names
from tests.drift.documents import NOON, TRACE, result, run_id, verdict

ACT_S = 10.0


def at(seconds: float) -> datetime:
    """This many seconds after the start."""
    return NOON + timedelta(seconds=seconds)


def a_run(number: int, seconds: float, *, drifted: int = 0, area: float | None = 0.84, **changes: Any) -> RunResult:  # noqa: ANN401 (members of the document)
    """A drift run whose window of 6 s ended at that time."""
    window = {"from": at(seconds - 6).isoformat(), "to": at(seconds).isoformat(), "rows": 700, "subjects": 600}
    measured = {"reference": 0.85, "current": area, "low": area and area - 0.05, "high": area and area + 0.05}
    performance = {"figures": {"roc_auc": measured}, "labels": 800}
    return read_result(result(number, drifted=drifted, current=window, performance=performance, **changes))


def a_useless_model(number: int, seconds: float) -> RunResult:
    """A run that finds nothing wrong except that the model is no better than chance."""
    states = {question: verdict("ok", "As before.") for question in ("quality", "covariate", "prediction")}
    verdicts = {**states, "performance": verdict("act", "A significant loss.")}
    return a_run(number, seconds, area=0.49, recommendation="RETRAIN", verdicts=verdicts)


def a_span(
    name: str, span_id: str, parent_id: str | None = None, start_ms: float = 0, ms: float = 10, **more: object
) -> Span:
    """A span of a trace that began with the fourth act."""
    start = at(30) + timedelta(milliseconds=start_ms)
    given: dict[str, Any] = {"kind": "SpanKind.INTERNAL", **more}
    context = SpanContext(given.pop("trace_id", TRACE), span_id)
    end = start + timedelta(milliseconds=ms)
    return Span(name=name, context=context, parent_id=parent_id, start=start, end=end, **given)


def a_slow_trace() -> list[Span]:
    """A request that a fault affected."""
    attributes = {
        names.HTTP_ROUTE: "/predict",
        names.FLAG_KEY: "slow_scoring",
        names.FLAG_VARIANT: "on",
        names.FLAG_VALUE: "80 ms",
    }
    return [
        a_span("POST /predict", "a1", ms=90, kind=SERVER, attributes=attributes),
        a_span("snapshot lookup", "a2", "a1", start_ms=2, ms=1),
        a_span("score", "a3", "a1", start_ms=5, ms=81),
    ]


def a_run_trace() -> list[Span]:
    """A drift run that links to two predictions."""
    links = tuple(
        SpanLink(
            SpanContext(f"{number}" * 32, "b" * 16), {names.PREDICTION_ID: f"p{number}", names.UNUSUAL_COUNT: number}
        )
        for number in (1, 2)
    )
    return [
        a_span("drift run", "c1", ms=1_200, links=links),
        a_span("compare", "c2", "c1", start_ms=100, ms=1_000),
    ]


def figures(seconds: float, p95: float) -> Figures:
    """The service's figures at that time."""
    quantiles = Quantiles(p95 / 4, p95, p95 * 2, 120)
    return Figures(at(seconds), 50.0, 0, quantiles, {USUAL: quantiles, NOT_USUAL: Quantiles(1.5, p95 + 1, 9.0, 20)})


def acts(runs: list[RunResult]) -> Iterator[ActSeen]:
    """Six acts of ten seconds; scoring is slow in the fourth."""
    for number, act in enumerate(story()):
        start, end = at(ACT_S * number), at(ACT_S * (number + 1))
        inside = [run for run in runs if start <= run.time <= end]
        p95 = 95.0 if act.key == "slow" else 8.0
        yield ActSeen(number + 1, act, start, end, figures(ACT_S * (number + 1), p95), inside[-1] if inside else None)


def evidence(**changes: Any) -> Evidence:  # noqa: ANN401 (members of the evidence)
    """A complete story."""
    runs = [
        a_run(1, 8, area=None),
        a_run(2, 18, drifted=6, recommendation="INVESTIGATE"),
        *(a_run(number, 10 * number - 2) for number in (3, 4, 5)),
        a_useless_model(6, 58),
    ]
    given: dict[str, Any] = {
        "model": "churn 2024-01-31-8b8b4256",
        "timing": DemoTiming(interval_s=2.0, window_s=5.7778, labels=800),
        "acts": list(acts(runs)),
        "figures": [figures(second, 95.0 if 30 < second < 40 else 8.0) for second in range(1, 60)],
        "runs": runs,
        "slow": a_slow_trace(),
        "run_trace": a_run_trace(),
        "linked": [LinkedPrediction("2" * 32, 2, "POST /predict", at(15), ("skips_7d", "watch_hours_30d"))],
        "shifts": [FeatureShift("skips_7d", "", 0, 3, (0.5, 0.3, 0.2), (0.1, 0.2, 0.7), 0.7, 1.6)],
        "requests": 2_600,
        "failed": 0,
        "labels": 5_000,
    }
    return Evidence(**given | changes)


FILES = {f"{run_id(number)}/report.html" for number in (2, 6)}
COMMANDS = [("leeway serve --bundle demo/bundle", "Serve this model again")]
