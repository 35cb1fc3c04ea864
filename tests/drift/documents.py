"""Results of schema 1 as a worker writes them, for the tests of readers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from drift.result import RunResult, read_result
from leeway.schema import CHURN_SCHEMA

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
WINDOW = timedelta(seconds=900)


def run_id(number: int) -> str:
    """An id with the form of a UUIDv7."""
    return f"0195{number:04x}-0000-7000-8000-{number:012x}"


def result(
    number: int = 0, *, drifted: int = 1, recommendation: str = "NO_ACTION", **changes: object
) -> dict[str, Any]:
    """Run `number`: a window of 15 minutes that ends `number` minutes after noon, with `drifted` features of 14."""
    end = NOON + timedelta(minutes=number)
    features = [
        feature(name, 0.46 - 0.04 * place if place < drifted else 0.08 - 0.005 * place)
        for place, name in enumerate(CHURN_SCHEMA.names)
    ]
    share = drifted / len(features)
    over = share >= 0.3
    return {
        "schema": 1,
        "run_id": run_id(number),
        "reference": {"from": "2026-01-31T00:00:00Z", "to": "2026-01-31T00:00:00Z", "rows": 5_120, "subjects": 5_120},
        "current": {"from": (end - WINDOW).isoformat(), "to": end.isoformat(), "rows": 1_431, "subjects": 1_204},
        "model": {"name": "churn", "version": "2026.1.31-4f9c", "task": "binary"},
        "share": round(share, 4),
        "threshold": 0.3,
        "decision": "RETRAIN" if over else "NO_ACTION",
        "recommendation": recommendation,
        "reason": REASONS[recommendation].format(share=share),
        "verdicts": {
            "quality": verdict(
                "ok", "Missing values, ranges and categories match the reference. 3 of 1,434 items were rejected."
            ),
            "covariate": verdict(
                "act" if over else "watch" if drifted > 2 else "ok",
                f"{drifted} of 14 features drifted. The furthest is months_active, at 4.6 times its threshold.",
            ),
            "prediction": verdict(
                "watch" if drifted > 1 else "ok",
                "The distance of the scores is 0.117; the effective threshold is 0.100.",
            ),
            "performance": verdict("unknown", "87 labels so far; 200 are needed."),
        },
        "features": features,
        "prediction": {"method": "wasserstein", "score": 0.1171, "threshold": 0.1, "detected": True},
        "target": {"difference": None, "labels": 87},
        "performance": {
            "figures": {
                "roc_auc": {"reference": 0.8143, "current": None, "low": None, "high": None, "reason": None},
                "brier": {"reference": 0.1472, "current": None, "low": None, "high": None, "reason": None},
            },
            "labels": 87,
        },
        "reports": {"html": f"runs/{run_id(number)}/report.html", "json": f"runs/{run_id(number)}/report.json"},
        "trace_id": TRACE,
        "segments": None,
    } | changes


def a_run(number: int = 0, **changes: Any) -> RunResult:  # noqa: ANN401 (members of the document)
    """The same, decoded."""
    return read_result(result(number, **changes))


def feature(name: str, score: float | None, **changes: object) -> dict[str, Any]:
    """One feature, drifted if its score says so."""
    return {
        "feature": name,
        "method": "jensenshannon" if CHURN_SCHEMA[name].kind in {"flag", "category"} else "wasserstein",
        "score": score,
        "threshold": 0.1,
        "detected": score is not None and score >= 0.1,
        "constant": False,
        "missing": {"reference": 0.0, "current": 0.0},
        "outside_reference": 0.0021,
        "new_categories": [],
    } | changes


def unknown(
    number: int, reason: str = "112 subjects are too few to compare; at least 200 are needed."
) -> dict[str, Any]:
    """An UNKNOWN run: no values, no features, no reports."""
    nothing = verdict("unknown", reason)
    given = result(number, recommendation="UNKNOWN", decision="UNKNOWN", reason=reason, share=None, features=[])
    return given | {
        "verdicts": dict.fromkeys(given["verdicts"], nothing),
        "current": given["current"] | {"rows": 118, "subjects": 112},
        "prediction": {"method": None, "score": None, "threshold": None, "detected": None},
        "target": {"difference": None, "labels": None},
        "reports": {"html": None, "json": None},
    }


def verdict(state: str, evidence: str) -> dict[str, str]:
    """One of the four."""
    return {"state": state, "evidence": evidence}


REASONS = {
    "NO_ACTION": "The drift share {share:.2f} is below 0.30, and no verdict needs action.",
    "INVESTIGATE": "The drift share {share:.2f} is at or above 0.30, so far in 1 of 3 consecutive windows"
    " without overlap.",
    "RETRAIN": "The drift share {share:.2f} is at or above 0.30 in 3 consecutive windows without overlap.",
    "UNKNOWN": "{share}",
}


def history() -> list[dict[str, Any]]:
    """An hour and a half, one run a minute: no drift, UNKNOWN for a while, rising drift, a RETRAIN at the end."""
    runs = [result(number) for number in range(30)]
    runs += [unknown(number) for number in range(30, 36)]
    runs += [result(number, drifted=1 + (number - 36) // 10) for number in range(36, 66)]
    runs += [result(number, drifted=5, recommendation="INVESTIGATE") for number in range(66, 89)]
    return [*runs, *(result(number, drifted=6, recommendation="RETRAIN") for number in range(89, 92))]
