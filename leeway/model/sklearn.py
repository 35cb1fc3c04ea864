"""Scikit-learn pipelines: score with one, keep one in a file without pickle, turn one into ONNX.

Imports pandas and scikit-learn, so only training, the drift side and bundles without ONNX come here.
"""

from __future__ import annotations

import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from leeway.model.encoding import Encoded, Encoder, float32
from leeway.model.manifest import BundleDamaged, BundleError

OPSET = 17
HARMLESS = frozenset(
    {
        "numpy.dtype",
        "numpy.mean",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "scipy.interpolate._bsplines.BSpline",
    }
)
"""What scikit-learn's own estimators hold from NumPy and SciPy, beyond what skops trusts."""


class NotExpressible(Exception):
    """ONNX cannot express this pipeline; the message says which part."""


class SklearnScorer:
    """The pipeline itself: the source of truth, and the way where there is no ONNX."""

    def __init__(self, path: Path, encoder: Encoder) -> None:
        threadpool_limits(1)  # requests share the cores, as with ONNX Runtime
        self._pipeline = read_pipeline(path)
        self._encoder = encoder

    def score(self, encoded: Encoded) -> NDArray[np.float64]:
        """See `leeway.model.bundle.Scorer`."""
        return predict(self._pipeline, model_frame(self._encoder, encoded))


def model_frame(encoder: Encoder, encoded: Encoded) -> pd.DataFrame:
    """The frame a pipeline takes: the schema's columns in order, float32 or text (see `leeway.model.encoding`)."""
    rounded = float32(encoded.numbers)
    numbers = {name: rounded[:, place] for place, name in enumerate(encoder.number_names)}
    texts = {name: np.array(texts, dtype=object) for name, texts in encoded.texts.items()}
    return pd.DataFrame({name: numbers[name] if name in numbers else texts[name] for name in encoder.schema.names})


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
        BundleError: it holds something that would not be loaded again without trusting code from outside.
    """
    try:
        skops.io.dump(pipeline, path)
        foreign = _foreign_types(path)
    except Exception as error:
        raise BundleError(f"the pipeline cannot be kept without pickle: {error}") from error
    if foreign:
        raise BundleError(
            f"the pipeline holds what comes from outside scikit-learn, which a bundle does not load: {foreign}"
        )


def read_pipeline(path: Path) -> Pipeline:
    """Read a pipeline with skops; only what skops trusts and what is scikit-learn's own is let in.

    Raises:
        BundleDamaged: the file holds anything else, or cannot be read.
    """
    try:
        foreign = _foreign_types(path)
        if not foreign:
            return skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
    except Exception as error:
        raise BundleDamaged(f"{path}: the pipeline cannot be loaded: {error}; train again") from error
    raise BundleDamaged(f"{path}: the pipeline holds what comes from outside scikit-learn: {foreign}; train again")


def _foreign_types(path: Path) -> list[str]:
    """What the file names that neither skops nor we trust."""
    return [name for name in skops.io.get_untrusted_types(file=path) if name not in HARMLESS and not _is_sklearns(name)]


def _is_sklearns(name: str) -> bool:
    """Whether `name` is a class or function that scikit-learn itself defines, but for those that read files or the net.

    The name alone does not say: `sklearn.datasets._base.urlretrieve` is the standard library's.
    """
    module, _, attribute = name.rpartition(".")
    if not module.startswith("sklearn.") or module.startswith("sklearn.datasets"):
        return False
    try:
        found = getattr(import_module(module), attribute, None)
    except ImportError:
        return False
    return callable(found) and str(getattr(found, "__module__", "")).startswith("sklearn.")


def to_onnx(pipeline: Pipeline, encoder: Encoder) -> bytes:
    """The pipeline as an ONNX model: one (n, 1) input a feature, outputs `label` and `probabilities` (n, 2).

    Raises:
        NotExpressible: a part of it has no ONNX counterpart.
    """
    import skl2onnx  # noqa: PLC0415 (slow to import, and absent where nothing is bundled)
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType  # noqa: PLC0415 (as above)

    inputs = [
        (name, (StringTensorType if name in encoder.text_names else FloatTensorType)([None, 1]))
        for name in encoder.schema.names
    ]
    options: dict[Any, Any] = {id(pipeline): {"zipmap": False}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # skl2onnx and onnx, to each other
            model = skl2onnx.to_onnx(pipeline, initial_types=inputs, options=options, target_opset=OPSET)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise NotExpressible(f"{type(error).__name__}: {reason}") from error
    if "probabilities" not in {output.name for output in model.graph.output}:
        raise NotExpressible("the converted model has no output `probabilities`")
    _name_inputs(model.graph, encoder.schema.names)
    return bytes(model.SerializeToString())


def _name_inputs(graph: Any, names: tuple[str, ...]) -> None:  # noqa: ANN401 (onnx ships no type for it)
    """Give the inputs their features' names: skl2onnx turns `monthly fee` into `monthly_fee`, but keeps their order.

    What else bears a feature's name (the output `label`, say) steps aside.
    """
    if len(graph.input) != len(names) or "probabilities" in names:
        raise NotExpressible("the converted model cannot take every feature by its name")
    inner = {name for node in graph.node for name in node.output} | {each.name for each in graph.initializer}
    new_names = {name: f"{name}:inner" for name in inner.intersection(names)}
    new_names |= {given.name: name for given, name in zip(graph.input, names, strict=True)}
    for each in (*graph.input, *graph.initializer, *graph.output):
        each.name = new_names.get(each.name, each.name)
    for node in graph.node:
        node.input[:] = [new_names.get(name, name) for name in node.input]
        node.output[:] = [new_names.get(name, name) for name in node.output]
