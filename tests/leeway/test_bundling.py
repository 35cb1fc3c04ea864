from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer, StandardScaler, TargetEncoder
from sklearn.svm import SVC

from leeway.bundle import Bundle, BundleError
from leeway.bundling import AGREEMENT, NEVER_SEEN, Origin, Reference, bundle_pipeline
from leeway.manifest import MANIFEST, ONNX, PIPELINE, SCHEMA
from leeway.pipeline import encode_frame, model_frame, predict, read_pipeline
from leeway.population import Population
from leeway.schema import CHURN_SCHEMA, Feature, FeatureSchema
from leeway.tabular import TableError
from tests.leeway.bundles import as_model_takes_it, fitted, small_bundle, some_rows, truth

FIGURES = ("trained_on", "held_out", "roc_auc", "brier", "score_reference", "drift", "example", "decision_threshold")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A logistic regression on two numbers and a category."""
    return small_bundle(tmp_path_factory.mktemp("small") / "bundle")


def apart(bundle: Bundle, frame: pd.DataFrame) -> float:
    """How far the bundle's scores of these rows are from its pipeline's."""
    scores = bundle.scorer.score(encode_frame(bundle.encoder, frame))
    return float(np.abs(scores - truth(bundle, frame)).max())


@pytest.mark.parametrize(
    "model",
    [
        fitted(),
        fitted(RandomForestClassifier(20, random_state=0), numbers="passthrough"),
        fitted(
            VotingClassifier(
                [("a", LogisticRegression()), ("b", MLPClassifier(4, max_iter=2_000))],
                voting="soft",
                flatten_transform=False,
            )
        ),
    ],
    ids=["logistic", "forest", "ensemble"],
)
def test_bundles_any_pipeline(model: Pipeline, tmp_path: Path) -> None:
    """A fitted pipeline is bundled as it is: ONNX scores it, and agrees with it on rows it never saw."""
    bundle = small_bundle(tmp_path / "bundle", model)
    assert bundle.card["scorer"] == "onnx", bundle.card["scorer_reason"]
    assert apart(bundle, some_rows(seed=2)[0]) <= AGREEMENT


def test_odd_names_reach_onnx(small: Bundle) -> None:
    """Names with blanks, dots and dashes are the model's inputs as they are."""
    assert small.schema.names == ("age", "monthly fee", "c.x-y")
    assert small.card["scorer"] == "onnx"


@pytest.mark.parametrize("names", [["label", "variable", "c"], ["a b", "a_b", "a-b"]])
def test_names_that_the_converter_uses_are_no_obstacle(names: list[str], tmp_path: Path) -> None:
    """Features called like a step of the converted model, or alike but for a blank, are kept apart."""
    frame, labels = some_rows()
    frame.columns = pd.Index(names)
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer([("n", "passthrough", names[1::-1]), ("t", encode, names[2:])])
    pipeline = make_pipeline(columns, LogisticRegression(max_iter=1_000)).fit(as_model_takes_it(frame), labels)
    bundle = bundle_pipeline(pipeline, Reference(frame, labels), tmp_path / "bundle")
    assert bundle.card["scorer"] == "onnx", bundle.card["scorer_reason"]
    assert apart(bundle, frame) <= AGREEMENT


@pytest.fixture(scope="module")
def without_onnx(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of a step that has no ONNX converter."""
    return small_bundle(tmp_path_factory.mktemp("splines") / "bundle", fitted(numbers=SplineTransformer()))


def test_falls_back_to_scikit_learn(without_onnx: Bundle) -> None:
    """Where ONNX cannot express the pipeline the bundle says why, and scikit-learn scores the same."""
    assert without_onnx.card["scorer"] == "scikit-learn"
    assert "SplineTransformer" in without_onnx.card["scorer_reason"]
    assert not (without_onnx.folder / ONNX).exists()
    assert apart(without_onnx, some_rows(seed=2)[0]) == 0


def test_the_reason_names_no_temporary_file(without_onnx: Bundle) -> None:
    """The reason on the card speaks of the model, not of a folder that is gone."""
    assert str(without_onnx.folder.parent) not in without_onnx.card["scorer_reason"]


def test_falls_back_where_onnx_differs(tmp_path: Path) -> None:
    """Where 32-bit floats are too coarse for the model, the bundle says how far ONNX is off, and does not use it."""
    frame = pd.DataFrame({"x": 1e7 + np.arange(-50.0, 50.0)})
    pipeline = make_pipeline(LogisticRegression()).fit(as_model_takes_it(frame), frame["x"] > 1e7)
    pipeline[-1].coef_, pipeline[-1].intercept_ = np.array([[0.1]]), np.array([-1e6])
    bundle = bundle_pipeline(pipeline, Reference(frame), tmp_path / "bundle")
    assert bundle.card["scorer"] == "scikit-learn"
    assert re.search(r"differ by 0\.00\d+ on a row", bundle.card["scorer_reason"])
    assert not (bundle.folder / ONNX).exists()


def test_a_target_encoder_is_bundled(tmp_path: Path) -> None:
    """A category encoded by the target, which knows no NaN from a new value, is scored as the pipeline does."""
    bundle = small_bundle(tmp_path / "bundle", fitted(texts=TargetEncoder(cv=5)))
    strange = some_rows(seed=2)[0].assign(**{"c.x-y": NEVER_SEEN})
    assert apart(bundle, strange) <= AGREEMENT


def double(rows: Any) -> Any:  # noqa: ANN401 (scikit-learn hands over what it likes)
    """A step from outside scikit-learn."""
    return rows * 2


@pytest.mark.parametrize("function", [double, lambda rows: rows])
def test_refuses_code_from_outside(function: Any, tmp_path: Path) -> None:  # noqa: ANN401 (any function)
    """A pipeline with a function of one's own is refused by name, and no folder is left."""
    with pytest.raises(BundleError, match=r"outside scikit-learn.*(double|lambda)"):
        small_bundle(tmp_path / "bundle", fitted(numbers=FunctionTransformer(function)))
    assert list(tmp_path.iterdir()) == []


def test_a_numpy_function_is_no_code_from_outside(tmp_path: Path) -> None:
    """A step that calls NumPy's own function is kept without pickle, and scores as before."""
    bundle = small_bundle(tmp_path / "bundle", fitted(numbers=FunctionTransformer(np.log1p)))
    assert apart(bundle, some_rows(seed=2)[0]) <= AGREEMENT


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
    with pytest.raises(BundleError, match="'age' holds an infinite"):
        bundle_pipeline(fitted(), Reference(frame), tmp_path / "bundle", schema=schema)


def test_warns_of_a_pipeline_that_refuses_new_categories(tmp_path: Path) -> None:
    """Who bundles a pipeline that raises on a new category is told that the service will, too."""
    with pytest.warns(UserWarning, match="refuses what it has not seen"):
        small_bundle(tmp_path / "bundle", fitted(texts=OneHotEncoder()))


def test_missing_values_agree(tmp_path: Path) -> None:
    """ONNX and scikit-learn agree where numbers and text are missing."""
    frame, labels = some_rows()
    frame.loc[::7, "age"] = np.nan
    frame.loc[::5, "c.x-y"] = None
    pipeline = fitted(numbers=make_pipeline(SimpleImputer(), StandardScaler()))
    pipeline.fit(as_model_takes_it(frame), labels)
    bundle = bundle_pipeline(pipeline, Reference(frame, labels), tmp_path / "bundle")
    assert bundle.card["scorer"] == "onnx", bundle.card["scorer_reason"]
    assert apart(bundle, frame) <= AGREEMENT
    assert bundle.schema["age"].kind == "integer"
    assert bundle.schema["age"].seen.missing_share == pytest.approx(np.mean(frame["age"].isna()))


def test_onnx_agrees_on_every_row(bundle: Bundle, people: Population) -> None:
    """On all rows, those of the training and those of the reference, ONNX and scikit-learn agree within 1e-5."""
    assert apart(bundle, pd.DataFrame(people.columns)) <= AGREEMENT


@pytest.mark.parametrize(
    "changes",
    [{"net_service": NEVER_SEEN}, {"plan_stream_tv": None, "plan_stream_movies": None}, {"monthly_fee": 1e300}],
    ids=["unseen", "missing", "huge"],
)
def test_onnx_agrees_on_strange_rows(bundle: Bundle, people: Population, changes: dict[str, Any]) -> None:
    """With an unseen category, missing values or a number beyond 32 bits, ONNX and scikit-learn still agree."""
    rows = [{**people.row(place), **changes} for place in range(200)]
    encoded = bundle.encoder.encode(rows)
    expected = predict(read_pipeline(bundle.folder / PIPELINE), model_frame(bundle.encoder, encoded))
    np.testing.assert_allclose(bundle.scorer.score(encoded), expected, atol=AGREEMENT)


def test_a_feature_nobody_has_is_bundled(tmp_path: Path) -> None:
    """A column without any value is bundled: nothing was seen of it, so any value of it is unusual."""
    frame, labels = some_rows()
    schema = FeatureSchema(
        (
            Feature("age", "integer"),
            Feature("monthly fee", "number"),
            Feature("c.x-y", "category"),
            Feature("gone", "number", nullable=True),
            Feature("gone text", "category", nullable=True),
        )
    )
    empty = frame.assign(**{"gone": np.nan, "gone text": None})
    bundle = bundle_pipeline(fitted(), Reference(empty, labels), tmp_path / "bundle", schema=schema)
    row = bundle.card["example"]
    assert (bundle.schema["gone"].seen.low, row["gone"], row["gone text"]) == (None, None, None)
    assert bundle.encoder.unusual(bundle.encoder.encode([row, {**row, "gone": 1.0, "gone text": "x"}])) == [
        (),
        ("gone", "gone text"),
    ]


def test_the_example_of_a_constant_is_the_constant(tmp_path: Path) -> None:
    """Where rounding would leave the usual range, the example is not rounded: it is a usual row, whatever the data."""
    frame, labels = some_rows()
    bundle = bundle_pipeline(fitted(), Reference(frame.assign(**{"monthly fee": 29.14104464}), labels), tmp_path / "b")
    assert bundle.encoder.unusual(bundle.encoder.encode([bundle.card["example"]])) == [()]


def test_what_training_held_counts_as_seen(tmp_path: Path) -> None:
    """A category and a gap that only the training rows have are no news."""
    frame, labels = some_rows()
    training = frame.copy()
    training.loc[0, "c.x-y"] = "rare"
    training["monthly fee"] = training["monthly fee"].where(training.index != 1)
    pipeline = fitted(numbers=make_pipeline(SimpleImputer(), StandardScaler()))
    bundle = bundle_pipeline(pipeline, Reference(frame, labels), tmp_path / "bundle", training=training)
    row = {**bundle.card["example"], "c.x-y": "rare", "monthly fee": None}
    assert bundle.encoder.unusual(bundle.encoder.encode([row])) == [()]


def test_same_data_same_bundle(small: Bundle, tmp_path: Path) -> None:
    """The same data, at another time, give the same version, the same schema's bytes and the same figures."""
    again = small_bundle(tmp_path / "bundle", made_at=datetime(2031, 1, 1, tzinfo=UTC))
    assert again.version == small.version
    assert (again.folder / SCHEMA).read_bytes() == (small.folder / SCHEMA).read_bytes()
    figures = [{name: bundle.card[name] for name in FIGURES} for bundle in (again, small)]
    assert json.dumps(figures[0]) == json.dumps(figures[1])


def test_another_model_another_version(small: Bundle, tmp_path: Path) -> None:
    """A model that answers otherwise has another version."""
    assert small_bundle(tmp_path / "bundle", fitted(LogisticRegression(C=0.01))).version != small.version


def test_version_begins_with_the_datas_date(tmp_path: Path) -> None:
    """Where the data have a date, the version begins with it."""
    bundle = small_bundle(tmp_path / "bundle", as_of="2026-01-31")
    assert re.fullmatch(r"2026-01-31-[0-9a-f]{8}", bundle.version)


def test_manifest_names_the_libraries(small: Bundle) -> None:
    """The manifest says which versions of the libraries made the model."""
    manifest = json.loads((small.folder / MANIFEST).read_text())
    assert {"scikit-learn", "numpy", "onnxruntime", "skl2onnx", "skops"} <= manifest["libraries"].keys()


def test_the_decision_threshold_is_kept(small: Bundle, tmp_path: Path) -> None:
    """The threshold is the origin's, and part of the version: it decides what is answered."""
    bundle = small_bundle(tmp_path / "bundle", decision_threshold=0.3)
    assert bundle.decision_threshold == 0.3
    assert bundle.version != small.version


def test_refuses_a_threshold_that_is_none(tmp_path: Path) -> None:
    """A threshold beyond 0 and 1 would make every answer the same, and is refused."""
    origin = replace(Origin(), decision_threshold=1.5)
    with pytest.raises(BundleError, match="threshold"):
        bundle_pipeline(fitted(), Reference(some_rows()[0]), tmp_path / "bundle", origin=origin)
