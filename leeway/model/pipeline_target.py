"""What a fitted pipeline predicts, and the labels of its reference."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline

from leeway.model.manifest import BundleError
from leeway.schema import Label, SchemaError, Target, Value

DEFAULT_THRESHOLD: Final = 0.5


def target_of(pipeline: Pipeline, known: Target, positive: Value) -> Target:
    """What a fitted pipeline predicts: the target's name as it is `known`, task and classes by the pipeline.

    Without `positive` that of `known` counts if it is one of the two classes.

    Raises:
        BundleError: it is neither a classifier with probabilities nor a regressor, or `positive` is missing or wrong.
    """
    found = getattr(pipeline, "classes_", None)
    if found is None and hasattr(pipeline, "predict") and not hasattr(pipeline, "predict_proba"):
        if positive is not None:
            raise BundleError(f"positive={positive!r} names a class, but the pipeline predicts numbers")
        return Target(known.name, "regression", (), None)
    if found is None or not hasattr(pipeline, "predict_proba") or len(found) < 2:  # noqa: PLR2004 (two classes)
        raise BundleError(
            "the pipeline must be a fitted regressor, or a fitted classifier of at least two classes with"
            " predict_proba. CalibratedClassifierCV adds predict_proba to a classifier without it"
        )
    classes = np.asarray(found).tolist()
    if len(classes) > 2 and positive is not None:  # noqa: PLR2004 (two classes)
        raise BundleError(f"positive={positive!r}: of {len(classes)} classes none is the positive one")
    try:
        if len(classes) > 2:  # noqa: PLR2004 (two classes)
            return Target(known.name, "multiclass", tuple(classes), None)
        return Target(known.name, "binary", tuple(classes), _positive(classes, known, positive))
    except SchemaError as error:
        raise BundleError(f"the pipeline's classes cannot be served: {error}") from error


def _positive(classes: list[Label], known: Target, positive: Value) -> Label:
    first, second = classes
    if positive is None:
        if known.positive in classes:  # 1 is equal to True
            return first if first == known.positive else second
        raise BundleError(
            f"the classes are {first!r} and {second!r}: name the one whose probability is served, positive={first!r} or"
            f" positive={second!r}"
        )
    if positive not in classes:
        raise BundleError(
            f"positive={positive!r} is not a class of the pipeline; its classes are {first!r}, {second!r}"
        )
    return first if positive == first else second


def threshold_of(pipeline: Pipeline, frame: pd.DataFrame, target: Target) -> float:
    """The probability from which a fitted pipeline predicts the positive class: its own threshold if it has one.

    Raises:
        BundleError: its threshold is not one of the positive class's probability, as its predictions for `frame` show.
    """
    last = pipeline.steps[-1][1] if isinstance(pipeline, Pipeline) else pipeline
    threshold = None
    if isinstance(last, TunedThresholdClassifierCV):
        threshold = float(last.best_threshold_)
    elif isinstance(last, FixedThresholdClassifier) and last.threshold != "auto":
        threshold = float(last.threshold)
    if threshold is None or target.task != "binary":
        return DEFAULT_THRESHOLD
    scores = pipeline.predict_proba(frame)[:, target.classes.index(target.positive)]
    if ((scores >= threshold) != (np.asarray(pipeline.predict(frame)) == target.positive)).any():
        raise BundleError(
            f"the pipeline's threshold {threshold:g} does not apply to the probability of {target.positive!r}: name the"
            " other class as positive, use response_method='predict_proba', or choose decision_threshold="
        )
    return threshold


def labels_of(labels: NDArray[Any], rows: int, target: Target) -> list[Label]:
    """The labels of a reference of so many rows in their canonical form; of two classes also given as 0 and 1.

    Raises:
        BundleError: there is not one for each row, or one is not valid.
    """
    array = np.asarray(labels)
    given = array.tolist() if array.shape == (rows,) else [None]
    try:
        return [target.label(each) for each in given]
    except SchemaError:
        if target.task == "binary" and set(given) <= {0, 1}:
            negative, positive = target.negative_and_positive
            return [positive if each else negative for each in given]
    wanted = "finite numbers"
    if target.task != "regression":
        named = ", ".join(map(repr, target.classes))
        wanted = f"{'0 or 1, or ' if target.task == 'binary' else ''}the classes {named} of the pipeline"
    raise BundleError(f"the reference's labels must be {wanted}, one for each of its rows")
