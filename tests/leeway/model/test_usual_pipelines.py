"""Pipelines as people write them: each is fitted on its own frame, bundled, and must answer requests as it did."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import SelectKBest
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, TunedThresholdClassifierCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.svm import SVC

from leeway.model.agreement import AGREEMENT
from leeway.model.manifest import BundleError
from leeway.model.writer import Reference, bundle_pipeline
from leeway.schema import Value

NUMBERS: Final = ["age", "income", "visits"]
TEXTS: Final = ["plan", "region"]
ALL: Final = [*NUMBERS, *TEXTS, "member"]

Case: TypeAlias = tuple[Any, Sequence[str], str]
"""An unfitted pipeline, the columns that it takes, and what scores its bundle."""


def table(rows: int = 300, seed: int = 3) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """A frame as `read_csv` gives it: whole numbers, numbers and text with gaps, a flag; and labels."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, rows),
            "income": rng.gamma(4, 12_000, rows).round(2),
            "visits": rng.poisson(4, rows).astype(np.float64),
            "plan": rng.choice(["basic", "gold", "free"], rows),
            "region": rng.choice(["north", "south", "east"], rows),
            "member": rng.random(rows) < 0.4,
        }
    )
    frame.loc[rng.random(rows) < 0.1, ["income", "visits"]] = np.nan
    gone = rng.random(rows) < 0.2
    frame.loc[gone, "plan"] = np.nan
    risk = frame["age"] / 20 + 1.5 * (frame["plan"] == "gold") + 2.5 * gone - frame["member"] + rng.normal(size=rows)
    return frame, np.asarray(risk > risk.median(), dtype=np.int64)


FRAME, LABELS = table()
FRESH, _ = table(rows=100, seed=4)


def on_columns(model: Any, *, numbers: Any = None, texts: Any = None) -> Pipeline:  # noqa: ANN401 (estimators)
    """A pipeline that imputes numbers, encodes texts (one-hot), and passes the flag on."""
    return make_pipeline(
        make_column_transformer(
            (numbers or SimpleImputer(), NUMBERS),
            (texts or OneHotEncoder(handle_unknown="ignore"), TEXTS),
            remainder="passthrough",
        ),
        model,
    )


def imputed(*steps: Any) -> Pipeline:  # noqa: ANN401 (estimators)
    """A pipeline of numbers with imputed gaps."""
    return make_pipeline(SimpleImputer(strategy="median"), *steps)


def filled_texts(**options: Any) -> Pipeline:  # noqa: ANN401 (as SimpleImputer has them)
    """Missing text is replaced, then one-hot."""
    return make_pipeline(SimpleImputer(**options), OneHotEncoder(handle_unknown="ignore"))


CONSTANT: Final = {"strategy": "constant", "fill_value": "unknown"}
SCALED: Final = make_pipeline(SimpleImputer(), StandardScaler())
ORDINAL: Final = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)

USUAL: Final[dict[str, Case]] = {
    "scalers": (imputed(StandardScaler(), LogisticRegression()), NUMBERS, "onnx"),
    "constant imputer": (on_columns(LogisticRegression(), numbers=SCALED, texts=filled_texts(**CONSTANT)), ALL, "onnx"),
    "frequent imputer": (
        on_columns(LogisticRegression(), numbers=SCALED, texts=filled_texts(strategy="most_frequent")),
        ALL,
        "onnx",
    ),
    "one-hot with gaps": (on_columns(LogisticRegression(), numbers=SCALED), ALL, "onnx"),
    "ordinal": (on_columns(RandomForestClassifier(20, random_state=0), texts=ORDINAL), ALL, "onnx"),
    "target encoder": (on_columns(LogisticRegression(), numbers=SCALED, texts=TargetEncoder(cv=3)), ALL, "onnx"),
    "selectors": (
        make_pipeline(
            make_column_transformer(
                (SCALED, make_column_selector(dtype_include=np.number)),
                (filled_texts(**CONSTANT), make_column_selector(dtype_exclude=[np.number, np.bool_])),
            ),
            LogisticRegression(),
        ),
        ALL,
        "onnx",
    ),
    "gradient boosting": (on_columns(GradientBoostingClassifier(n_estimators=20)), ALL, "onnx"),
    "hgb": (HistGradientBoostingClassifier(max_iter=20), NUMBERS, "onnx"),
    "components": (imputed(StandardScaler(), PCA(2), LogisticRegression()), NUMBERS, "onnx"),
    "bins": (
        imputed(KBinsDiscretizer(4, quantile_method="averaged_inverted_cdf"), LogisticRegression()),
        NUMBERS,
        "onnx",
    ),
    "naive Bayes": (imputed(RobustScaler(), GaussianNB()), NUMBERS, "onnx"),
    "calibrated": (imputed(StandardScaler(), CalibratedClassifierCV(GaussianNB(), cv=3)), NUMBERS, "onnx"),
    "voting": (
        imputed(VotingClassifier([("a", GaussianNB()), ("b", LogisticRegression(C=1e-6))], voting="soft")),
        NUMBERS,
        "onnx",
    ),
    "hgb with categories": (
        HistGradientBoostingClassifier(max_iter=20, categorical_features=TEXTS),
        ALL,
        "scikit-learn",
    ),
    "stacking": (
        imputed(StackingClassifier([("a", RandomForestClassifier(10, random_state=0)), ("b", GaussianNB())], cv=3)),
        NUMBERS,
        "onnx",
    ),
    "nearest neighbours": (on_columns(KNeighborsClassifier(7), numbers=imputed(MinMaxScaler())), ALL, "scikit-learn"),
    "indicators": (
        on_columns(RandomForestClassifier(20, random_state=0), numbers=SimpleImputer(add_indicator=True)),
        ALL,
        "scikit-learn",
    ),
}


def as_requests(frame: pd.DataFrame) -> list[dict[str, Value]]:
    """The rows as JSON has them."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def answers_as(pipeline: Any, fresh: pd.DataFrame, folder: Path, reference: Reference) -> str:  # noqa: ANN401 (an estimator)
    """Bundle the pipeline, check that it answers requests of `fresh` rows as the pipeline, and name what scores."""
    bundle = bundle_pipeline(pipeline, reference, folder / "bundle")
    expected = pipeline.predict_proba(fresh)[:, 1]
    np.testing.assert_allclose(bundle.score(as_requests(fresh)), expected, rtol=0, atol=AGREEMENT)
    return bundle.card.scorer


@pytest.mark.parametrize("name", USUAL)
def test_answers_as_the_pipeline(name: str, tmp_path: Path) -> None:
    """18 of 20 usual pipelines answer new requests as they did before bundling, 15 of them by ONNX."""
    pipeline, columns, scorer = USUAL[name]
    pipeline.fit(FRAME[columns], LABELS)
    assert answers_as(pipeline, FRESH[columns], tmp_path, Reference(FRAME[columns], LABELS)) == scorer


@pytest.mark.parametrize(
    ("pipeline", "frame", "reason"),
    [
        (imputed(RidgeClassifier()), FRAME[NUMBERS], "CalibratedClassifierCV adds predict_proba"),
        (
            on_columns(LogisticRegression(), numbers=SCALED),
            FRAME.assign(plan=FRAME["plan"].where(FRAME.index % 2 == 0, FRAME["plan"].fillna(""))),
            r"'plan' is '', in the bundle nan\. Use one type for each column, and one value for missing text",
        ),
    ],
    ids=["no probabilities", "two kinds of missing text"],
)
def test_says_what_to_change(pipeline: Pipeline, frame: pd.DataFrame, reason: str, tmp_path: Path) -> None:
    """The other two are rejected, and the reason says what to change."""
    pipeline.fit(frame, LABELS)
    with pytest.raises(BundleError, match=reason):
        bundle_pipeline(pipeline, Reference(frame, LABELS), tmp_path / "bundle")


ODD: Final[dict[str, Case]] = {
    "a function of numpy": (imputed(FunctionTransformer(np.log1p), LogisticRegression()), NUMBERS, "scikit-learn"),
    "a support vector machine": (imputed(CalibratedClassifierCV(SVC(), ensemble=False)), NUMBERS, "scikit-learn"),
    "neighbours impute": (
        on_columns(ExtraTreesClassifier(10, random_state=0), numbers=KNNImputer()),
        ALL,
        "scikit-learn",
    ),
    "a union": (
        imputed(FeatureUnion([("a", StandardScaler()), ("b", MinMaxScaler())]), SelectKBest(k=4), LogisticRegression()),
        NUMBERS,
        "onnx",
    ),
    "a grid search": (
        GridSearchCV(on_columns(LogisticRegression(), numbers=SCALED), {"logisticregression__C": [0.1, 1]}, cv=2),
        ALL,
        "onnx",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_less_usual_pipelines_answer_as_they_did(name: str, tmp_path: Path) -> None:
    """Functions of NumPy, searches and unions are bundled too."""
    pipeline, columns, scorer = ODD[name]
    pipeline.fit(FRAME[columns], LABELS)
    assert answers_as(pipeline, FRESH[columns], tmp_path, Reference(FRAME[columns], LABELS)) == scorer


@pytest.mark.parametrize("in_pipeline", [True, False])
@pytest.mark.parametrize("tuned", [True, False])
def test_a_pipelines_own_threshold_decides(tuned: bool, in_pipeline: bool, tmp_path: Path) -> None:  # noqa: FBT001 (cases)
    """The bundle predicts the classes that the pipeline predicts, whose threshold may be another than 0.5."""
    inner = LogisticRegression() if in_pipeline else imputed(StandardScaler(), LogisticRegression())
    last = TunedThresholdClassifierCV(inner, cv=3) if tuned else FixedThresholdClassifier(inner, threshold=0.3)
    pipeline = imputed(StandardScaler(), last) if in_pipeline else last
    pipeline.fit(FRAME[NUMBERS], LABELS)
    bundle = bundle_pipeline(pipeline, Reference(FRAME[NUMBERS], LABELS), tmp_path / "bundle")
    assert bundle.card.decision_threshold == (last.best_threshold_ if tuned else 0.3)
    found = bundle.card.answers(bundle.score(as_requests(FRESH[NUMBERS]))).predictions
    assert list(found) == pipeline.predict(FRESH[NUMBERS]).tolist()


def test_a_threshold_of_the_other_class_is_rejected(tmp_path: Path) -> None:
    """It would decide the other way around."""
    pipeline = FixedThresholdClassifier(imputed(StandardScaler(), LogisticRegression()), threshold=0.3, pos_label=0)
    pipeline.fit(FRAME[NUMBERS], LABELS)
    with pytest.raises(BundleError, match=r"threshold 0\.3 does not apply to the probability of 1: name the other"):
        bundle_pipeline(pipeline, Reference(FRAME[NUMBERS], LABELS), tmp_path / "bundle")


@pytest.mark.parametrize("missing", [None, ""], ids=["None", "empty"])
def test_missing_text_is_what_it_was(missing: str | None, tmp_path: Path) -> None:
    """A pipeline that imputes `None` or "" gets the same from a request in which the text is missing."""
    frame, fresh = (
        each.assign(plan=pd.Series([missing if pd.isna(cell) else cell for cell in each["plan"]], dtype=object))
        for each in (FRAME, FRESH)
    )
    encode = filled_texts(missing_values=missing, **CONSTANT)
    pipeline = on_columns(LogisticRegression(), numbers=SCALED, texts=encode).fit(frame, LABELS)
    assert answers_as(pipeline, fresh, tmp_path, Reference(frame, LABELS)) == "onnx"
    as_free = fresh.assign(plan="free")
    gone = (fresh["plan"].isna() | (fresh["plan"] == "")).to_numpy()
    assert (pipeline.predict_proba(fresh)[gone, 1] > pipeline.predict_proba(as_free)[gone, 1] + 0.1).all()
