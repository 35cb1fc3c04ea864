"""What happened, in plain words: for the end of the terminal's output, and for the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cli.demo.evidence import ActSeen, Evidence
from cli.demo.spans import Span
from cli.latency import ms
from drift.report.page.words import HEADLINE, number
from drift.result import RunResult
from leeway.telemetry import names

COIN = 0.5


def p95(seen: ActSeen | None) -> str:
    """The act's p95."""
    return ms(None if seen is None or seen.figures is None else seen.figures.latency.p95)


def share(run: RunResult | None) -> str:
    """The run's share of drifted features."""
    return number(None if run is None else run.share)


def area(run: RunResult | None) -> str:
    """The run's ROC AUC on labels."""
    return number(None if run is None else run.performance.roc_auc.current)


def conclusion(evidence: Evidence) -> str:
    """The last recommendation and why, in a sentence or two."""
    last = evidence.last
    if last is None:
        return "The drift worker made no comparison that could tell."
    if not _fails_unseen(last):
        return last.reason
    auc = last.performance.roc_auc
    worth = "no better than a coin" if (auc.low or 0.0) <= COIN else "worse than its card says"
    figures = f"ROC AUC {number(auc.current)}, on the card {number(auc.reference)}"
    speed = p95(evidence.acts[-1] if evidence.acts else None)
    drifted = f"{last.drifted or 'none'} of {len(last.features)} features drifted"
    return f"Answers take {speed} (p95) and {drifted}, yet the model is {worth}: {figures}. Only labels show that."


def _fails_unseen(run: RunResult) -> bool:
    """Whether performance alone acts, on inputs that look sound."""
    inputs = (run.verdicts[question].state for question in ("quality", "covariate", "prediction"))
    return run.verdicts["performance"].state == "act" and "act" not in inputs


def outcome(seen: ActSeen) -> str:
    """What was seen in an act, in one line."""
    said = HEADLINE[seen.run.recommendation] if seen.run else "no comparison"
    return f"p95 {p95(seen)}, drift share {share(seen.run)}, ROC AUC {area(seen.run)}: {said.lower()}"


def told_apart(evidence: Evidence) -> list[str]:
    """What drift did to latency, and what slowness did to drift; nothing where an act was not played."""
    calm, drifted, slow = (evidence.act(key) for key in ("calm", "drift", "slow"))
    found = []
    if calm and drifted and evidence.farthest:
        found.append(
            f"While the inputs drifted the share rose to {share(evidence.farthest)}, and p95 was {p95(drifted)}"
            f" ({p95(calm)} while all was calm)."
        )
    if slow and slow.run:
        found.append(f"While scoring was slow p95 was {p95(slow)}, and the share {share(slow.run)}.")
    return found


def where_it_went(trace: Sequence[Span]) -> str:
    """In which part of a trace most of its time went, and what the request says of a fault."""
    whole, parts = trace[0], trace[1:]
    longest = max(parts, key=lambda span: span.lasted_ms, default=None)
    spent = f"{ms(longest.lasted_ms)} of its {ms(whole.lasted_ms)} went into {longest.name}" if longest else ""
    said = [str(whole.attributes[name]) for name in (names.FLAG_KEY, names.FLAG_VALUE) if name in whole.attributes]
    struck = f"the span says why: {names.FLAG_KEY} = {', '.join(said)}" if said else ""
    return "; ".join(part for part in (spent, struck) if part)


def closing(evidence: Evidence) -> Iterator[str]:
    """The end of the terminal's output: what happened, act by act, and what it means."""
    failed = "none of them failed" if not evidence.failed else f"{evidence.failed:,} of them failed"
    yield f"{evidence.requests:,} requests were sent, and {failed}; {evidence.labels:,} labels came."
    for seen in evidence.acts:
        yield f"  {seen.number}. {seen.act.title}: {outcome(seen)}."
    yield from told_apart(evidence)
    if evidence.last is not None:
        yield f"In the end: {HEADLINE[evidence.last.recommendation]}. {conclusion(evidence)}"
