"""Scikit-learn: score with a pipeline, and store it without pickle.

Imports pandas and scikit-learn, so only training, the drift worker and bundles without ONNX import it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from leeway.model.encoding import Encoded, Encoder
from leeway.model.frame import FrameLayout
from leeway.model.manifest import FRAME, PIPELINE, BundleDamaged, BundleError, BundleSchemaMismatch, read_json
from leeway.schema import Target

BOOSTERS = {
    "xgboost": "n_estimators is max_iter, max_depth and learning_rate are the same, reg_lambda is l2_regularization",
    "lightgbm": "n_estimators is max_iter, num_leaves is max_leaf_nodes, min_child_samples is min_samples_leaf",
    "catboost": "iterations is max_iter, depth is max_depth, l2_leaf_reg is l2_regularization",
}
"""Libraries of boosted trees, and how their parameters are named in scikit-learn."""
HARMLESS = frozenset(
    {
        "functools.partial",  # what it calls is checked, too
        "numpy.dtype",
        "numpy.mean",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "scipy.interpolate._bsplines.BSpline",
    }
)
"""What scikit-learn's own estimators use of NumPy and SciPy, beyond what skops trusts."""


class SklearnScorer:
    """Scores with the pipeline itself, in the frame that it was fitted on, for the target of the encoder's schema."""

    def __init__(self, pipeline: Pipeline, encoder: Encoder, layout: FrameLayout) -> None:
        self.pipeline = pipeline
        self.encoder = encoder
        self.layout = layout

    @property
    def target(self) -> Target:
        """What the pipeline predicts."""
        return self.encoder.schema.target

    def score(self, encoded: Encoded) -> NDArray[np.float64]:
        """See `leeway.model.bundle.Scorer`."""
        return self.score_frame(self.layout.frame(self.encoder, encoded))

    def score_frame(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """The outputs for the n rows of a frame that the pipeline takes, as `score`."""
        if self.target.task == "regression":
            return np.asarray(self.pipeline.predict(frame), dtype=np.float64).reshape(len(frame))
        found = np.asarray(self.pipeline.predict_proba(frame), dtype=np.float64)
        return found if self.target.positive is None else found[:, self.target.classes.index(self.target.positive)]


def encode_frame(encoder: Encoder, frame: pd.DataFrame) -> Encoded:
    """Encode a frame of the schema's features (any dtypes that hold their values), n rows."""
    numbers = [
        frame[name].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan) for name in encoder.number_names
    ]
    texts = {name: ["" if pd.isna(text) else str(text) for text in frame[name]] for name in encoder.text_names}
    return Encoded(np.column_stack(numbers) if numbers else np.empty((len(frame), 0)), texts)


def write_pipeline(pipeline: Pipeline, path: Path) -> None:
    """Write the pipeline with skops.

    Raises:
        BundleError: loading it again would execute code from outside scikit-learn.
        OSError: the file cannot be written.
    """
    _reject_boosters(pipeline)
    try:
        skops.io.dump(pipeline, path)
        foreign = _foreign_types(path)
    except OSError:
        raise
    except Exception as error:
        raise BundleError(f"the pipeline cannot be stored without pickle: {error}") from error
    if foreign:
        steps = _steps(pipeline)
        named = ", ".join(f"{name} (in {steps[name]!r})" if name in steps else name for name in foreign)
        raise BundleError(
            f"the pipeline contains code from outside scikit-learn, which a bundle does not load: {named}. Use a"
            " transformer of scikit-learn, or compute that column before you call the service, and fit again"
        )


def _steps(pipeline: Pipeline) -> dict[str, str]:
    """Where in the pipeline each class or function is a parameter, by its full name."""
    found: dict[str, str] = {}
    for path, value in pipeline.get_params(deep=True).items():
        for each in (type(value), value):
            if isinstance(name := getattr(each, "__qualname__", None), str):
                found.setdefault(f"{each.__module__}.{name}", path)
    return found


def _reject_boosters(pipeline: Pipeline) -> None:
    """Say what to use instead of a model whose library a bundle does not load."""
    for name in (f"{type(pipeline).__module__}.{type(pipeline).__qualname__}", *_steps(pipeline)):
        library = name.partition(".")[0]
        if library in BOOSTERS:
            raise BundleError(
                f"the pipeline contains {name}: a bundle loads no code of {library}. Fit scikit-learn's"
                " HistGradientBoostingClassifier or HistGradientBoostingRegressor instead, which is the same kind of"
                f" model and takes missing values and categories, too: {BOOSTERS[library]}"
            )


def read_scorer(folder: Path, encoder: Encoder) -> SklearnScorer:
    """The scorer of the bundle in `folder`.

    Raises:
        BundleError: the pipeline or the layout of its frame cannot be loaded, or they do not belong together.
    """
    threadpool_limits(1)  # requests share the cores, as with ONNX Runtime
    layout = read_json(folder / FRAME, FrameLayout)
    if set(layout.columns) != set(encoder.schema.names):
        raise BundleSchemaMismatch(f"{folder / FRAME} has other columns than schema.json; train again")
    return SklearnScorer(read_pipeline(folder / PIPELINE), encoder, layout)


def read_pipeline(path: Path) -> Pipeline:
    """Read a pipeline with skops; it may contain only what skops trusts and what is scikit-learn's own.

    Raises:
        BundleDamaged: the file contains anything else, or cannot be read.
    """
    try:
        foreign = _foreign_types(path)
        if not foreign:
            return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    except Exception as error:
        raise BundleDamaged(f"{path}: the pipeline cannot be loaded: {error}; train again") from error
    raise BundleDamaged(f"{path}: the pipeline contains code from outside scikit-learn: {foreign}; train again")


def _foreign_types(path: Path) -> list[str]:
    """The types in the file that neither skops nor we trust."""
    return [
        name
        for name in skops.io.get_untrusted_types(file=path)
        if name not in HARMLESS and not _is_number_type(name) and not _is_sklearns(name)
    ]


def _is_number_type(name: str) -> bool:
    """Whether this is one of NumPy's scalar types, such as `numpy.number`, by which selectors choose columns."""
    library, _, attribute = name.partition(".")
    found = getattr(np, attribute, None) if library == "numpy" else None
    return isinstance(found, type) and issubclass(found, np.generic)


def _is_sklearns(name: str) -> bool:
    """Whether scikit-learn itself defines the class or function `name`; its readers of files and URLs do not count.

    The name alone does not tell: `sklearn.datasets._base.urlretrieve` is the standard library's.
    """
    module, _, attribute = name.rpartition(".")
    if not module.startswith("sklearn.") or module.startswith("sklearn.datasets"):
        return False
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError:
        return False
    return callable(found) and str(getattr(found, "__module__", "")).startswith("sklearn.")
