"""One small result, for tests that need no comparison."""

from typing import Any

from drift.result import RunResult, read_result


def a_result(**changes: object) -> RunResult:
    """A run over two features, one of which drifted; keywords replace members of the document."""
    document: dict[str, Any] = {
        "schema": 1,
        "run_id": "01a20725-becc-73b9-bf77-f99f508bba04",
        "reference": {"from": None, "to": None, "rows": 2113, "subjects": 2113},
        "current": {"from": "2024-02-01T00:00:00Z", "to": "2024-02-01T00:15:00Z", "rows": 900, "subjects": 450},
        "model": {"name": "churn", "version": "v1"},
        "share": 0.5,
        "threshold": 0.3,
        "decision": "RETRAIN",
        "recommendation": "INVESTIGATE",
        "reason": "Over the threshold, not yet confirmed.",
        "verdicts": {
            "quality": _verdict("ok"),
            "covariate": _verdict("act"),
            "prediction": _verdict("watch"),
            "performance": _verdict("unknown"),
        },
        "features": [_feature("watch_hours_30d", 0.4, detected=True), _feature("skips_7d", None, detected=False)],
        "prediction": {"method": "wasserstein", "score": 0.11, "threshold": 0.1, "detected": True},
        "target": {"difference": None, "labels": None},
        "reports": {"html": None, "json": None},
        "trace_id": "0" * 31 + "1",
    }
    return read_result(document | changes)


def _feature(name: str, score: float | None, *, detected: bool) -> dict[str, Any]:
    return {
        "feature": name,
        "method": "wasserstein",
        "score": score,
        "threshold": 0.12,
        "detected": detected,
        "constant": False,
        "missing": {"reference": 0.0, "current": 0.0},
        "outside_reference": 0.01,
        "new_categories": [],
    }


def _verdict(state: str) -> dict[str, str]:
    return {"state": state, "evidence": f"It is {state}."}
