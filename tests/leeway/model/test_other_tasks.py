"""Pipelines of several classes and of numbers, bundled as they are: each answers requests as it did."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from leeway.model.agreement import AGREEMENT
from leeway.model.manifest import BundleError
from leeway.model.writer import Reference, bundle_pipeline
from leeway.schema import Target
from tests.leeway.model.test_usual_pipelines import (
    ALL,
    FRAME,
    FRESH,
    NUMBERS,
    ORDINAL,
    SCALED,
    Case,
    as_requests,
    imputed,
    on_columns,
)

SPENT: Final = np.asarray(
    40 + FRAME["age"] * 2.5 + FRAME["member"] * 80 + np.random.default_rng(1).gamma(2, 20, len(FRAME))
)
TIERS: Final = np.array(["bronze", "silver", "top"])[np.digitize(SPENT, np.quantile(SPENT, [0.4, 0.8]))]

REGRESSIONS: Final[dict[str, Case]] = {
    "ridge": (on_columns(Ridge(), numbers=SCALED), ALL, "onnx"),
    "gradient boosting": (on_columns(GradientBoostingRegressor(n_estimators=20), texts=ORDINAL), ALL, "onnx"),
    "hgb": (HistGradientBoostingRegressor(max_iter=20), NUMBERS, "onnx"),
    "nearest neighbours": (imputed(StandardScaler(), KNeighborsRegressor(7)), NUMBERS, "scikit-learn"),
    "logarithm of the target": (
        TransformedTargetRegressor(imputed(StandardScaler(), Ridge()), func=np.log1p, inverse_func=np.expm1),
        NUMBERS,
        "scikit-learn",
    ),
}
CLASSIFIERS: Final[dict[str, Case]] = {
    "logistic regression": (on_columns(LogisticRegression(), numbers=SCALED), ALL, "onnx"),
    "random forest": (on_columns(RandomForestClassifier(20, random_state=0), texts=ORDINAL), ALL, "onnx"),
    "naive Bayes": (imputed(GaussianNB()), NUMBERS, "onnx"),
}


@pytest.mark.parametrize("name", REGRESSIONS)
def test_numbers_are_the_pipelines(name: str, tmp_path: Path) -> None:
    """New requests get the pipeline's numbers, within a hundred-thousandth of their standard deviation."""
    pipeline, columns, scorer = REGRESSIONS[name]
    pipeline.fit(FRAME[columns], SPENT)
    bundle = bundle_pipeline(pipeline, Reference(FRAME[columns], SPENT), tmp_path / "bundle")
    assert (bundle.schema.target, bundle.card.scorer) == (Target("label", "regression", (), None), scorer)
    expected = pipeline.predict(FRESH[columns])
    within = AGREEMENT * float(np.std(expected)) * 2  # the reference's deviation is not that of these rows
    np.testing.assert_allclose(bundle.score(as_requests(FRESH[columns])), expected, rtol=0, atol=within)
    assert bundle.card.figures["mae"].value == pytest.approx(np.abs(pipeline.predict(FRAME[columns]) - SPENT).mean())


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_probabilities_of_all_classes_are_the_pipelines(name: str, tmp_path: Path) -> None:
    """New requests get the pipeline's probabilities of every class, in the order of its classes."""
    pipeline, columns, scorer = CLASSIFIERS[name]
    pipeline.fit(FRAME[columns], TIERS)
    bundle = bundle_pipeline(pipeline, Reference(FRAME[columns], TIERS), tmp_path / "bundle")
    assert bundle.schema.target == Target("label", "multiclass", ("bronze", "silver", "top"), None)
    assert bundle.card.scorer == scorer
    expected = pipeline.predict_proba(FRESH[columns])
    np.testing.assert_allclose(bundle.score(as_requests(FRESH[columns])), expected, rtol=0, atol=AGREEMENT)


@pytest.mark.parametrize(
    ("pipeline", "labels", "options", "reason"),
    [
        (imputed(Ridge()), SPENT, {"positive": 1}, "positive=1 names a class, but the pipeline predicts numbers"),
        (imputed(GaussianNB()), TIERS, {"positive": "top"}, "of 3 classes none is the positive one"),
        (imputed(Ridge()), np.where(SPENT > 100, np.inf, SPENT), {}, "labels must be finite numbers"),
        (imputed(GaussianNB()), np.where(TIERS == "top", "gold", TIERS), {}, "'bronze', 'silver', 'top'"),
    ],
    ids=["a class of numbers", "a positive class of several", "infinite labels", "other classes"],
)
def test_what_does_not_fit_is_rejected(
    pipeline: Any,  # noqa: ANN401 (an estimator)
    labels: Any,  # noqa: ANN401 (an array)
    options: dict[str, Any],
    reason: str,
    tmp_path: Path,
) -> None:
    """The message says what the pipeline predicts."""
    fitted = pipeline.fit(FRAME[NUMBERS], TIERS if labels.dtype.kind == "U" else SPENT)
    with pytest.raises(BundleError, match=reason):
        bundle_pipeline(fitted, Reference(FRAME[NUMBERS], labels), tmp_path / "bundle", **options)
