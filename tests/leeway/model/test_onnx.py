from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer, StandardScaler, TargetEncoder

from leeway.data.population import Population
from leeway.model.agreement import AGREEMENT, NEVER_SEEN
from leeway.model.bundle import Bundle
from leeway.model.manifest import ONNX
from leeway.model.sklearn import read_scorer
from leeway.model.writer import Reference, bundle_pipeline
from tests.leeway.model.bundles import apart, fitted, small_bundle, some_rows


@pytest.mark.parametrize(
    ("model", "numbers"),
    [
        (None, None),
        (RandomForestClassifier(20, random_state=0), "passthrough"),
        (
            VotingClassifier(
                [("a", LogisticRegression()), ("b", MLPClassifier(4, max_iter=2_000))],
                voting="soft",
                flatten_transform=False,
            ),
            None,
        ),
    ],
    ids=["logistic", "forest", "ensemble"],
)
def test_bundles_any_pipeline(model: ClassifierMixin | None, numbers: str | None, tmp_path: Path) -> None:
    """A fitted pipeline is bundled unchanged: ONNX scores it, and agrees with it on new rows."""
    bundle = small_bundle(tmp_path / "bundle", fitted(model, numbers=numbers))
    assert bundle.card.scorer == "onnx", bundle.card.scorer_reason
    assert apart(bundle, some_rows(seed=2)[0]) <= AGREEMENT


def test_onnx_inputs_have_the_features_names(small: Bundle) -> None:
    """Names with spaces, dots and dashes are the model's inputs unchanged."""
    assert small.schema.names == ("age", "monthly fee", "c.x-y")
    assert small.card.scorer == "onnx"


@pytest.mark.parametrize("names", [["label", "variable", "c"], ["a b", "a_b", "a-b"]])
def test_names_that_the_converter_uses_are_kept_apart(names: list[str], tmp_path: Path) -> None:
    """Features may have the name of a step of the converted model, or names that differ by a space only."""
    frame, labels = some_rows()
    frame.columns = pd.Index(names)
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer([("n", "passthrough", names[1::-1]), ("t", encode, names[2:])])
    pipeline = make_pipeline(columns, LogisticRegression(max_iter=1_000)).fit(frame, labels)
    bundle = bundle_pipeline(pipeline, Reference(frame, labels), tmp_path / "bundle")
    assert bundle.card.scorer == "onnx", bundle.card.scorer_reason
    assert apart(bundle, frame) <= AGREEMENT


@pytest.fixture(scope="module")
def without_onnx(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle with a step that has no ONNX converter."""
    return small_bundle(tmp_path_factory.mktemp("splines") / "bundle", fitted(numbers=SplineTransformer()))


def test_falls_back_to_scikit_learn(without_onnx: Bundle) -> None:
    """If ONNX cannot express the pipeline, the card says why, and scikit-learn scores the same."""
    assert without_onnx.card.scorer == "scikit-learn"
    assert "SplineTransformer" in str(without_onnx.card.scorer_reason)
    assert str(without_onnx.folder.parent) not in str(without_onnx.card.scorer_reason), "names a temporary folder"
    assert not (without_onnx.folder / ONNX).exists()
    assert apart(without_onnx, some_rows(seed=2)[0]) == 0


def test_falls_back_where_onnx_differs(tmp_path: Path) -> None:
    """If 32-bit floats are too coarse for the model, the card says how far ONNX is off, and scikit-learn scores."""
    frame = pd.DataFrame({"x": 1e7 + np.arange(-50.0, 50.0)})
    pipeline = make_pipeline(LogisticRegression()).fit(frame, frame["x"] > 1e7)
    pipeline[-1].coef_, pipeline[-1].intercept_ = np.array([[0.1]]), np.array([-1e6])
    bundle = bundle_pipeline(pipeline, Reference(frame), tmp_path / "bundle")
    assert bundle.card.scorer == "scikit-learn"
    assert re.search(r"differ by 0\.00\d+ on a row", str(bundle.card.scorer_reason))
    assert not (bundle.folder / ONNX).exists()


def test_a_target_encoder_is_bundled(tmp_path: Path) -> None:
    """A category encoded by the target is scored as by the pipeline, new categories included."""
    bundle = small_bundle(tmp_path / "bundle", fitted(texts=TargetEncoder(cv=5)))
    strange = some_rows(seed=2)[0].assign(**{"c.x-y": NEVER_SEEN})
    assert apart(bundle, strange) <= AGREEMENT


def test_a_numpy_function_is_trusted(tmp_path: Path) -> None:
    """A step that calls NumPy's own function is stored without pickle, and scores as before."""
    bundle = small_bundle(tmp_path / "bundle", fitted(numbers=FunctionTransformer(np.log1p)))
    assert apart(bundle, some_rows(seed=2)[0]) <= AGREEMENT


def test_warns_of_a_pipeline_that_rejects_new_categories(tmp_path: Path) -> None:
    """A pipeline that raises on a new category is bundled with a warning, because the service will raise, too."""
    with pytest.warns(UserWarning, match="rejects values that it has not seen"):
        small_bundle(tmp_path / "bundle", fitted(texts=OneHotEncoder()))


def test_missing_values_agree(tmp_path: Path) -> None:
    """ONNX and scikit-learn agree if numbers and text are missing."""
    frame, labels = some_rows()
    frame.loc[::7, "age"] = np.nan
    frame.loc[::5, "c.x-y"] = None
    pipeline = fitted(numbers=make_pipeline(SimpleImputer(), StandardScaler()))
    pipeline.fit(frame, labels)
    bundle = bundle_pipeline(pipeline, Reference(frame, labels), tmp_path / "bundle")
    assert bundle.card.scorer == "onnx", bundle.card.scorer_reason
    assert apart(bundle, frame) <= AGREEMENT
    assert bundle.schema["age"].kind == "integer"
    assert bundle.schema["age"].seen.missing_share == pytest.approx(np.mean(frame["age"].isna()))


def test_onnx_agrees_on_every_row(bundle: Bundle, people: Population) -> None:
    """ONNX and scikit-learn agree within 1e-5 on all rows of the training and of the reference."""
    assert apart(bundle, pd.DataFrame(people.columns)) <= AGREEMENT


@pytest.mark.parametrize(
    "changes",
    [{"net_service": NEVER_SEEN}, {"plan_stream_tv": None, "plan_stream_movies": None}, {"monthly_fee": 1e300}],
    ids=["unseen", "missing", "huge"],
)
def test_onnx_agrees_on_strange_rows(bundle: Bundle, people: Population, changes: dict[str, Any]) -> None:
    """ONNX and scikit-learn agree on unseen categories, missing values and numbers beyond 32 bits."""
    rows = [bundle.schema.row({**people.row(place), **changes}) for place in range(200)]
    encoded = bundle.encoder.encode(rows)
    expected = read_scorer(bundle.folder, bundle.encoder).score(encoded)
    np.testing.assert_allclose(bundle.scorer.score(encoded), expected, atol=AGREEMENT)
