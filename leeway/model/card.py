"""The model's card: where it comes from, how well it does, and how much of a drift chance alone would show."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from leeway.model.distances import BASE_THRESHOLD, cumulative_shares, method_for, noise_constant
from leeway.model.encoding import usual_range
from leeway.model.performance import brier, roc_auc
from leeway.schema import Feature, FeatureSchema, Kind, Value
from leeway.telemetry.names import SCORE_BUCKETS


@dataclass(frozen=True)
class Reference:
    """What the model is compared with: rows it was not trained on, and their labels (0 or 1) where there are any."""

    frame: pd.DataFrame
    labels: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Origin:
    """What the card says of where the model comes from. `rows` is the number of rows it was trained on."""

    name: str = "model"
    target: str = "label"
    source: str = "a fitted pipeline"
    as_of: str | None = None
    rows: int | None = None
    seed: int | None = None
    decision_threshold: float = 0.5
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))


def make_card(
    origin: Origin,
    version: str,
    schema: FeatureSchema,
    reference: Reference,
    scores: NDArray[np.float64],
    no_onnx: str | None,
) -> dict[str, Any]:
    """The card as a JSON object; `scores` are the reference's, `no_onnx` says why ONNX does not score."""
    labels = reference.labels
    judged = labels if labels is not None and len(np.unique(labels)) == 2 else None  # noqa: PLR2004 (both classes)
    return {
        "name": origin.name,
        "version": version,
        "made_at": origin.made_at.isoformat(timespec="seconds"),
        "target": origin.target,
        "trained_on": {"source": origin.source, "as_of": origin.as_of, "rows": origin.rows, "seed": origin.seed},
        "held_out": {
            "rows": len(scores),
            "positive_share": None if labels is None else float(np.mean(labels)),
        },
        "roc_auc": None if judged is None else asdict(roc_auc(judged, scores)),
        "brier": None if judged is None else asdict(brier(judged, scores)),
        "decision_threshold": origin.decision_threshold,
        "scorer": "onnx" if no_onnx is None else "scikit-learn",
        "scorer_reason": no_onnx,
        "example": {each.name: _typical(each, reference.frame[each.name]) for each in schema},
        "score_reference": {"bounds": list(SCORE_BUCKETS), "shares": list(cumulative_shares(scores, SCORE_BUCKETS))},
        "drift": _drift(schema, reference.frame, scores),
    }


def _typical(feature: Feature, values: pd.Series[Any]) -> Value:
    """A usual value for the docs' example that no single row gives away: the median, or the most frequent."""
    present = values.dropna()
    if present.empty:
        return None
    low, high = usual_range(feature.seen)
    if feature.kind == "number":
        median = float(present.median())
        rounded = float(f"{median:.4g}")
        return rounded if low <= rounded <= high else median
    if feature.kind == "integer":
        return int(present.median())
    common = present.mode().iloc[0]
    return bool(common) if feature.kind == "flag" else str(common)


def _drift(schema: FeatureSchema, frame: pd.DataFrame, scores: NDArray[np.float64]) -> dict[str, Any]:
    """Method, threshold and noise constant of each feature and of the score: fixed here, for every window to come."""

    def fixed(kind: Kind, values: NDArray[Any], features: int) -> dict[str, Any]:
        method = method_for(kind, values)
        return {
            "method": method,
            "threshold": BASE_THRESHOLD,
            "noise_constant": noise_constant(values, method, features=features),
        }

    return {
        "features": {each.name: fixed(each.kind, _plain(frame[each.name]), len(schema)) for each in schema},
        "score": fixed("number", scores, 1),
    }


def _plain(values: pd.Series[Any]) -> NDArray[np.object_]:
    """Python values, with None for missing."""
    return values.astype("object").where(values.notna(), None).to_numpy(dtype=object)
