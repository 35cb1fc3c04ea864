"""Real tables that ship with scikit-learn, one for each kind of model and more, as training data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine

from leeway.data.tabular import TrainingData, infer_schema, typed_frame
from leeway.schema import FeatureSchema, Label, Target

BREAST: Final = Target("diagnosis", "binary", ("benign", "malignant"), "malignant")
WINE: Final = Target("cultivar", "multiclass", ("barolo", "grignolino", "lambrusco"), None)
DIGITS: Final = Target("digit", "multiclass", tuple(range(10)), None)
DIABETES: Final = Target("progression", "regression", (), None)
_DIGIT_ROWS = 700


def breast_cancer() -> TrainingData:
    """A binary target with text classes; six of its thirty features, so that a training takes a second."""
    return _data(load_breast_cancer(as_frame=True), slice(0, 6), BREAST, ["malignant", "benign"])


def wine() -> TrainingData:
    """Three classes with names, 178 rows."""
    return _data(load_wine(as_frame=True), slice(6, 12), WINE, list(WINE.classes))


def digits() -> TrainingData:
    """Ten classes that are numbers; every fifth pixel of 700 digits."""
    return _data(load_digits(as_frame=True), slice(10, 60, 5), DIGITS, list(DIGITS.classes), rows=_DIGIT_ROWS)


def diabetes() -> TrainingData:
    """A number, 442 rows."""
    return _data(load_diabetes(as_frame=True), slice(0, 10), DIABETES)


REAL: Final[dict[str, Callable[[], TrainingData]]] = {
    "breast_cancer": breast_cancer,
    "wine": wine,
    "digits": digits,
    "diabetes": diabetes,
}


def _data(
    loaded: Any,  # noqa: ANN401 (scikit-learn's bunch)
    columns: slice,
    target: Target,
    classes: list[Label] | None = None,
    rows: int | None = None,
) -> TrainingData:
    frame = pd.DataFrame(loaded.data).iloc[:rows, columns].rename(columns=lambda name: name.replace("/", " to "))
    schema = FeatureSchema(infer_schema(frame).features, target)
    labels = np.asarray(loaded.target)[:rows]
    if classes is not None:
        labels = np.array(classes)[labels]
    return TrainingData(schema, typed_frame(schema, frame), labels)
