from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC

from leeway.data.tabular import TableError
from leeway.model.bundle import BundleError
from leeway.model.writer import Origin, Reference, bundle_pipeline
from leeway.schema import CHURN_SCHEMA, Feature, FeatureSchema
from tests.leeway.model.bundles import as_model_takes_it, fitted, small_bundle, some_rows


def double(rows: Any) -> Any:  # noqa: ANN401 (scikit-learn hands over what it likes)
    """A step from outside scikit-learn."""
    return rows * 2


@pytest.mark.parametrize("function", [double, lambda rows: rows])
def test_refuses_code_from_outside(function: Any, tmp_path: Path) -> None:  # noqa: ANN401 (any function)
    """A pipeline with a function of one's own is refused by name, and no folder is left."""
    with pytest.raises(BundleError, match=r"outside scikit-learn.*(double|lambda)"):
        small_bundle(tmp_path / "bundle", fitted(numbers=FunctionTransformer(function)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", [SVC(), HistGradientBoostingClassifier()])
def test_refuses_what_is_no_classifier_of_two_classes(model: Any, tmp_path: Path) -> None:  # noqa: ANN401 (untyped)
    """Without probabilities, unfitted or with three classes a model cannot be served, and the error says so."""
    frame, _ = some_rows()
    rows = as_model_takes_it(frame)[["age"]]
    pipeline = Pipeline([("model", model)])
    if isinstance(model, SVC):
        pipeline.fit(rows, (rows["age"] > 40).to_numpy())
    with pytest.raises(BundleError, match="two classes with predict_proba"):
        bundle_pipeline(pipeline, Reference(frame[["age"]]), tmp_path / "bundle")


def test_refuses_three_classes(tmp_path: Path) -> None:
    """A model of three classes is refused, not served as if it had two."""
    frame, _ = some_rows()
    pipeline = make_pipeline(LogisticRegression()).fit(as_model_takes_it(frame)[["age"]], np.arange(len(frame)) % 3)
    with pytest.raises(BundleError, match="two classes"):
        bundle_pipeline(pipeline, Reference(frame[["age"]]), tmp_path / "bundle")


def test_refuses_a_reference_of_other_columns(tmp_path: Path) -> None:
    """A reference that the pipeline cannot score is refused, with what a pipeline must take."""
    with pytest.raises(BundleError, match=r"cannot score its reference.*32-bit"):
        bundle_pipeline(fitted(), Reference(some_rows()[0][["age"]]), tmp_path / "bundle")


def test_refuses_a_reference_without_a_feature(tmp_path: Path) -> None:
    """A reference that lacks a column of the schema is refused by the column's name."""
    with pytest.raises(BundleError, match="months_active"):
        bundle_pipeline(fitted(), Reference(some_rows()[0]), tmp_path / "bundle", schema=CHURN_SCHEMA)


@pytest.mark.parametrize("labels", [[0, 1], [0.5] * 400, [2] * 400])
def test_refuses_labels_that_are_none(labels: list[Any], tmp_path: Path) -> None:
    """Labels are 0 or 1, one for each row of the reference."""
    with pytest.raises(BundleError, match="labels must be 0 or 1"):
        bundle_pipeline(fitted(), Reference(some_rows()[0], np.array(labels)), tmp_path / "bundle")


def test_refuses_an_empty_reference(tmp_path: Path) -> None:
    """Without rows there is nothing to compare with."""
    with pytest.raises(BundleError, match="no rows"):
        bundle_pipeline(fitted(), Reference(some_rows()[0][:0]), tmp_path / "bundle")


def test_refuses_a_column_that_is_no_feature(tmp_path: Path) -> None:
    """A reference from which no schema can be inferred is refused as a table would be."""
    frame = some_rows()[0].assign(day=pd.Timestamp("2026-01-01"))
    with pytest.raises(TableError, match="'day'"):
        bundle_pipeline(fitted(), Reference(frame), tmp_path / "bundle")


def test_refuses_infinity(tmp_path: Path) -> None:
    """An infinite number in the reference is refused by its column's name."""
    frame = some_rows()[0].assign(age=np.inf)
    schema = FeatureSchema((Feature("age", "number"), Feature("monthly fee", "number"), Feature("c.x-y", "category")))
    with pytest.raises(BundleError, match="'age' contains an infinite"):
        bundle_pipeline(fitted(), Reference(frame), tmp_path / "bundle", schema=schema)


def test_refuses_a_threshold_that_is_none(tmp_path: Path) -> None:
    """A threshold beyond 0 and 1 would make every answer the same, and is refused."""
    origin = replace(Origin(), decision_threshold=1.5)
    with pytest.raises(BundleError, match="threshold"):
        bundle_pipeline(fitted(), Reference(some_rows()[0]), tmp_path / "bundle", origin=origin)
