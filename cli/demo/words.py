"""What happened, as sentences for the terminal and the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cli.demo.evidence import ActSeen, Evidence
from cli.demo.spans import Span
from cli.live_display import ms
from drift.report.page.words import HEADLINE, number
from drift.result import Measure, RunResult
from leeway.telemetry import names

CHANCE = 0.5
"""The ROC AUC of a model that is no better than chance."""


def p95(seen: ActSeen | None) -> str:
    """The act's p95."""
    return ms(None if seen is None or seen.figures is None else seen.figures.latency.p95)


def share(run: RunResult | None) -> str:
    """The run's share of drifted features."""
    return number(None if run is None else run.share)


def figure(run: RunResult | None) -> str:
    """The run's first performance figure on labels."""
    return number(None if run is None else first_figure(run)[1].current)


def first_figure(run: RunResult) -> tuple[str, Measure]:
    """The first performance figure of the model's task: its title, and its values on the card and on labels."""
    return run.performance.first or ("performance", Measure())


def figure_title(evidence: Evidence) -> str:
    """The title of the first performance figure, such as ROC AUC of a binary model."""
    return next((run.performance.first[0] for run in evidence.runs if run.performance.first), "performance")


def conclusion(evidence: Evidence) -> str:
    """The last recommendation and why, in a sentence or two."""
    last = evidence.last
    if last is None:
        return "The drift worker had too little data for a comparison."
    if not _fails_unseen(last):
        return last.reason
    title, measure = first_figure(last)
    is_chance = "roc_auc" in last.performance.figures and (measure.low or 0.0) <= CHANCE
    worth = "no better than chance" if is_chance else "worse than on its card"
    figures = f"{title} {number(measure.current)}, on its card {number(measure.reference)}"
    speed = p95(evidence.acts[-1] if evidence.acts else None)
    drifted = f"{last.drifted or 'none'} of {len(last.features)} features drifted"
    return f"Answers take {speed} (p95) and {drifted}, yet the model is {worth}: {figures}. Only the labels show it."


def _fails_unseen(run: RunResult) -> bool:
    """Whether only the performance verdict is act, while the inputs look sound."""
    inputs = (run.verdicts[question].state for question in ("quality", "covariate", "prediction"))
    return run.verdicts["performance"].state == "act" and "act" not in inputs


def outcome(seen: ActSeen) -> str:
    """What was measured in an act, on one line."""
    said = HEADLINE[seen.run.recommendation] if seen.run else "no comparison"
    title = first_figure(seen.run)[0] if seen.run else "performance"
    return f"p95 {p95(seen)}, drift share {share(seen.run)}, {title} {figure(seen.run)}: {said.lower()}"


def drift_versus_latency(evidence: Evidence) -> list[str]:
    """How drift affected latency, and how slow scoring affected drift; empty if an act is missing."""
    calm, drifted, slow = (evidence.act(key) for key in ("calm", "drift", "slow"))
    found = []
    if calm and drifted and evidence.farthest:
        found.append(
            f"While the inputs drifted, the share of drifted features rose to {share(evidence.farthest)}, and p95 was"
            f" {p95(drifted)} ({p95(calm)} before)."
        )
    if slow and slow.run:
        found.append(f"While scoring was slow, p95 was {p95(slow)}, and the share was {share(slow.run)}.")
    return found


def where_it_went(trace: Sequence[Span]) -> str:
    """Which part of a trace took most of its time, and which fault its span names."""
    whole, parts = trace[0], trace[1:]
    longest = max(parts, key=lambda span: span.lasted_ms, default=None)
    spent = f"{longest.name} took {ms(longest.lasted_ms)} of {ms(whole.lasted_ms)}" if longest else ""
    values = [str(whole.attributes[name]) for name in (names.FLAG_KEY, names.FLAG_VALUE) if name in whole.attributes]
    fault = f"the span names the cause: {names.FLAG_KEY} = {', '.join(values)}" if values else ""
    return "; ".join(part for part in (spent, fault) if part)


def closing(evidence: Evidence) -> Iterator[str]:
    """The last lines in the terminal: what happened, act by act, and the conclusion."""
    yield f"{evidence.requests:,} requests, {evidence.failed or 'none'} failed; {evidence.labels:,} labels."
    for seen in evidence.acts:
        yield f"  {seen.number}. {seen.act.title}: {outcome(seen)}."
    yield from drift_versus_latency(evidence)
    if evidence.last is not None:
        yield f"Result: {HEADLINE[evidence.last.recommendation]}. {conclusion(evidence)}"
