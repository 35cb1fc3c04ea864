"""Convert a scikit-learn pipeline to an ONNX model."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import skl2onnx
from numpy.typing import NDArray
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, VotingClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import KBinsDiscretizer, OrdinalEncoder

from leeway.model.sklearn import SklearnScorer

OPSET = 17
_BOOSTED = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
_NONE = np.empty(0)  # a pipeline keeps the unfitted copies of its steps, too


class NotExpressible(Exception):
    """ONNX cannot express this pipeline; the message says which part."""


def to_onnx(model: SklearnScorer) -> bytes:
    """Convert a pipeline to an ONNX model: one (n, 1) input a feature, and the output of its task.

    A classifier has `probabilities` (n, k) beside `label`, a regressor has `variable` (n, 1).

    Raises:
        NotExpressible: ONNX has no counterpart for a part of it.
    """
    names = tuple(model.layout.columns)
    inputs = [
        (name, (StringTensorType if name in model.encoder.text_names else FloatTensorType)([None, 1])) for name in names
    ]
    pipeline = _as_converter_takes_it(model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # skl2onnx calls deprecated parts of onnx
            options = None if model.target.task == "regression" else {id(pipeline): {"zipmap": False}}
            converted = skl2onnx.to_onnx(pipeline, initial_types=inputs, options=options, target_opset=OPSET)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise NotExpressible(f"{type(error).__name__}: {reason}") from error
    output = "variable" if model.target.task == "regression" else "probabilities"
    if output not in {each.name for each in converted.graph.output}:
        raise NotExpressible(f"the converted model has no output `{output}`")
    if output in names:
        raise NotExpressible(f"a feature has the name `{output}`, which is the output's")
    _name_inputs(converted.graph, names)
    return bytes(converted.SerializeToString())


def _as_converter_takes_it(model: SklearnScorer) -> Pipeline:
    """A copy that answers the same, without what skl2onnx does not convert.

    Missing text is "": ONNX has no None, and its text is never NaN. Compare the answers of the copy before you use it.
    """
    copied = copy.deepcopy(model.pipeline)
    takes_32_bits = all(column.dtype != "float64" for column in model.layout.columns.values())
    for part in _estimators(copied):
        if isinstance(part, SimpleImputer) and getattr(part, "statistics_", _NONE).dtype.kind == "O":
            part.missing_values = ""
        elif isinstance(part, VotingClassifier):
            part.flatten_transform = False  # the shape of a transformation, not of probabilities
        elif isinstance(part, KBinsDiscretizer) and part.encode == "onehot":
            part.encode = "onehot-dense"
        elif isinstance(part, _BOOSTED) and takes_32_bits:
            _round_thresholds(part)
        if isinstance(categories := getattr(part, "categories_", None), list):
            part.categories_ = [_with_empty_text(part, each) for each in categories]
    if isinstance(copied, Pipeline) or model.encoder.text_names:
        return copied
    # A model without a pipeline takes one input of all columns.
    names = list(model.layout.columns)
    columns = ColumnTransformer([("columns", "passthrough", names)])
    columns.fit(model.layout.frame(model.encoder, model.encoder.encode([(0.0,) * len(names)])))
    return Pipeline([("columns", columns), ("model", copied)])


def _round_thresholds(trees: Any) -> None:  # noqa: ANN401 (scikit-learn's base of both is private)
    """Round thresholds down to 32-bit floats: then the same 32-bit numbers are below them in both runtimes.

    A threshold lies halfway between two numbers. Where a number lies there, too, rounding to nearest decides otherwise.
    Of 64-bit numbers, which ONNX rounds as well, rounding to nearest keeps more on their side.
    """
    for predictor in (each for iteration in trees._predictors for each in iteration):  # noqa: SLF001 (nothing public)
        exact = predictor.nodes["num_threshold"]
        rounded = exact.astype(np.float32)
        too_large = rounded > exact
        rounded[too_large] = np.nextafter(rounded[too_large], np.float32(-np.inf))
        predictor.nodes["num_threshold"] = rounded


def _with_empty_text(encoder: Any, categories: NDArray[Any]) -> NDArray[Any]:  # noqa: ANN401 (any encoder)
    """The categories of one column with "" for missing text, or without it where it is encoded as unknown text is."""
    if categories.dtype.kind != "O":
        return categories
    texts = [each if isinstance(each, str) else "" for each in categories]
    if isinstance(encoder, OrdinalEncoder) and encoder.unknown_value is not None:
        codes = np.array([encoder.unknown_value, encoder.encoded_missing_value], dtype=np.float64)
        if np.array_equal(codes[:1], codes[1:], equal_nan=True):
            texts = [text for text in texts if text]
    return np.array(texts, dtype=object)


def _estimators(value: Any) -> Iterator[Any]:  # noqa: ANN401 (scikit-learn nests estimators in anything)
    if hasattr(value, "get_params"):
        yield value
        value = vars(value)
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from _estimators(each)


def _name_inputs(graph: Any, names: tuple[str, ...]) -> None:  # noqa: ANN401 (onnx ships no type for it)
    """Give the inputs their features' names: skl2onnx turns `monthly fee` into `monthly_fee`, but keeps their order.

    Any other node of that name (the output `label`, say) is renamed.
    """
    if len(graph.input) != len(names):
        raise NotExpressible("the converted model cannot take every feature by its name")
    inner = {name for node in graph.node for name in node.output} | {each.name for each in graph.initializer}
    new_names = {name: f"{name}:inner" for name in inner.intersection(names)}
    new_names |= {given.name: name for given, name in zip(graph.input, names, strict=True)}
    for each in (*graph.input, *graph.initializer, *graph.output):
        each.name = new_names.get(each.name, each.name)
    for node in graph.node:
        node.input[:] = [new_names.get(name, name) for name in node.input]
        node.output[:] = [new_names.get(name, name) for name in node.output]
