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

from leeway.model.encoding import Encoded, Encoder, float32
from leeway.model.manifest import BundleDamaged, BundleError

HARMLESS = frozenset(
    {
        "numpy.dtype",
        "numpy.mean",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "scipy.interpolate._bsplines.BSpline",
    }
)
"""What scikit-learn's own estimators use of NumPy and SciPy, beyond what skops trusts."""


class SklearnScorer:
    """Scores with the pipeline itself, where ONNX cannot express it."""

    def __init__(self, path: Path, encoder: Encoder) -> None:
        threadpool_limits(1)  # requests share the cores, as with ONNX Runtime
        self._pipeline = read_pipeline(path)
        self._encoder = encoder

    def score(self, encoded: Encoded) -> NDArray[np.float64]:
        """See `leeway.model.bundle.Scorer`."""
        return predict(self._pipeline, model_frame(self._encoder, encoded))


def model_frame(encoder: Encoder, encoded: Encoded) -> pd.DataFrame:
    """The frame a pipeline takes: the schema's columns in order, float32 or text (see `leeway.model.encoding`)."""
    columns = dict(zip(encoder.number_names, float32(encoded.numbers).T, strict=True)) | {
        name: np.array(texts, dtype=object) for name, texts in encoded.texts.items()
    }
    return pd.DataFrame({name: columns[name] for name in encoder.schema.names})


def encode_frame(encoder: Encoder, frame: pd.DataFrame) -> Encoded:
    """Encode a frame of the schema's features (any dtypes that hold their values), n rows."""
    numbers = [
        frame[name].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan) for name in encoder.number_names
    ]
    texts = {name: ["" if pd.isna(text) else str(text) for text in frame[name]] for name in encoder.text_names}
    return Encoded(np.column_stack(numbers) if numbers else np.empty((len(frame), 0)), texts)


def predict(pipeline: Pipeline, frame: pd.DataFrame) -> NDArray[np.float64]:
    """The probability of the positive class, shape (n,)."""
    return np.asarray(pipeline.predict_proba(frame)[:, 1], dtype=np.float64)


def write_pipeline(pipeline: Pipeline, path: Path) -> None:
    """Write the pipeline with skops.

    Raises:
        BundleError: loading it again would mean to trust code from outside scikit-learn.
    """
    try:
        skops.io.dump(pipeline, path)
        foreign = _foreign_types(path)
    except Exception as error:
        raise BundleError(f"the pipeline cannot be stored without pickle: {error}") from error
    if foreign:
        raise BundleError(
            f"the pipeline contains code from outside scikit-learn, which a bundle does not load: {foreign}"
        )


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
    return [name for name in skops.io.get_untrusted_types(file=path) if name not in HARMLESS and not _is_sklearns(name)]


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
