"""The result document of one run, schema 1, and the two lines that `leeway drift run` prints of it.

Every member is always there. What is not computable is null, in numbers too: the document is plain JSON, without NaN
and without infinity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, TypeAlias

from drift.comparison.findings import DriftReport, FeatureDrift, PerformanceWindow, ScoreDrift
from drift.verdicts.verdicts import Judgement
from leeway.model.performance import Estimate

SCHEMA: Final = 1

Document: TypeAlias = dict[str, Any]


@dataclass(frozen=True)
class Side:
    """One of the two windows: [start, end) or a single day, predictions (`rows`) and subjects in it."""

    start: datetime | date | None = None
    end: datetime | date | None = None
    rows: int | None = None
    subjects: int | None = None


@dataclass(frozen=True)
class Run:
    """What a run is known by. `html` and `json` are paths or addresses of Evidently's reports."""

    run_id: str
    reference: Side
    current: Side
    model_name: str | None = None
    model_version: str | None = None
    html: str | None = None
    json: str | None = None
    trace_id: str | None = None


@dataclass(frozen=True)
class Target:
    """The absolute difference of the two label rates, and on how many current labels."""

    difference: float | None = None
    labels: int | None = None


def result_document(
    run: Run,
    judgement: Judgement,
    threshold: float,
    *,
    report: DriftReport | None,
    performance: PerformanceWindow | None = None,
    target: Target | None = None,
) -> Document:
    """Put a run into the document of schema 1; `threshold` is the policy's share."""
    target = target or Target()
    return {
        "schema": SCHEMA,
        "run_id": run.run_id,
        "reference": _side(run.reference),
        "current": _side(run.current),
        "model": {"name": run.model_name, "version": run.model_version},
        "share": None if report is None else round(report.share, 4),
        "threshold": threshold,
        "decision": judgement.decision,
        "recommendation": judgement.recommendation,
        "reason": judgement.reason,
        "verdicts": {
            question: {"state": each.state, "evidence": each.evidence} for question, each in judgement.verdicts.items()
        },
        "features": [] if report is None else [_feature(each) for each in report.features],
        "prediction": _prediction(None if report is None else report.prediction),
        "target": {"difference": _finite(target.difference), "labels": target.labels},
        "performance": _performance(performance or PerformanceWindow(0), known=performance is not None),
        "reports": {"html": run.html, "json": run.json},
        "trace_id": run.trace_id,
    }


def evidently_line(document: Mapping[str, Any]) -> str:
    """The plain line: report files, share, decision and target drift; `n/a` for what is null."""
    reports, difference = document["reports"], document["target"]["difference"]
    if document["decision"] == "UNKNOWN":
        share, decision = "n/a", f"UNKNOWN {_one_line(document['reason'])}"
    else:
        share, threshold = f"{document['share']:.2f}", f"{document['threshold']:.2f}"
        sign = ">=" if document["decision"] == "RETRAIN" else "<"
        decision = f"{document['decision']} drift_share={share} {sign} {threshold}"
    files = f"report_html={_or_not(reports['html'])} report_json={_or_not(reports['json'])}"
    drift = "n/a" if difference is None else f"{difference:.4f}"
    return f"[Evidently] {files} drift_share={share} -> {decision} (target_drift={drift})"


def leeway_line(document: Mapping[str, Any]) -> str:
    """Our line: the four verdicts, the ROC AUC where there is one, and the recommendation."""
    verdicts = ", ".join(f"{question} {verdict['state']}" for question, verdict in document["verdicts"].items())
    area, labels = document["performance"]["roc_auc"], document["performance"]["labels"]
    figures = ""
    if area["current"] is not None:
        before = "n/a" if area["reference"] is None else f"{area['reference']:.2f}"
        interval = f"{area['low']:.2f}...{area['high']:.2f}"
        figures = f" (ROC AUC {before} -> {area['current']:.2f}, {interval} on {labels:,} labels)"
    return f"[Leeway] {verdicts}{figures} -> {document['recommendation']}"


def _side(side: Side) -> Document:
    start, end = (None if moment is None else moment.isoformat() for moment in (side.start, side.end))
    return {"from": start, "to": end, "rows": side.rows, "subjects": side.subjects}


def _feature(each: FeatureDrift) -> Document:
    return {
        "feature": each.feature,
        "method": each.method,
        "score": _finite(each.score),
        "threshold": _finite(each.threshold),
        "detected": each.detected,
        "constant": each.constant,
        "missing": {"reference": each.missing_reference, "current": each.missing_current},
        "outside_reference": each.outside_reference,
        "new_categories": list(each.new_categories),
    }


def _prediction(found: ScoreDrift | None) -> Document:
    if found is None:
        return {"method": None, "score": None, "threshold": None, "detected": None}
    score, threshold = _finite(found.score), _finite(found.threshold)
    return {"method": found.method, "score": score, "threshold": threshold, "detected": found.detected}


def _performance(seen: PerformanceWindow, *, known: bool) -> Document:
    return {
        "roc_auc": _figure(seen.card_roc_auc, seen.roc_auc),
        "brier": _figure(seen.card_brier, seen.brier),
        "labels": seen.labels if known else None,
    }


def _figure(card: Estimate | None, live: Estimate | None) -> Document:
    return {
        "reference": None if card is None else _finite(card.value),
        "current": None if live is None else _finite(live.value),
        "low": None if live is None else _finite(live.low),
        "high": None if live is None else _finite(live.high),
    }


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None


def _or_not(text: str | None) -> str:
    return text or "n/a"


def _one_line(text: str) -> str:
    return " ".join(text.split())
