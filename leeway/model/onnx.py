"""ONNX: score with ONNX Runtime, and convert a scikit-learn pipeline to an ONNX model."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from leeway.model.encoding import Encoded, Encoder
from leeway.model.manifest import BundleDamaged, BundleSchemaMismatch

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read on import; without it ONNX Runtime reports to its vendor
import onnxruntime

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

OPSET = 17


class NotExpressible(Exception):
    """ONNX cannot express this pipeline; the message says which part."""


class OnnxScorer:
    """Scores with ONNX Runtime on one thread: a request is small, and requests share the cores.

    Raises:
        BundleDamaged: ONNX Runtime cannot load the model.
        BundleSchemaMismatch: its inputs or outputs do not match the schema.
    """

    def __init__(self, model: bytes, encoder: Encoder) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised; they need not be logged as well
        self._encoder = encoder
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BundleDamaged(f"ONNX Runtime cannot load the model: {error}") from error
        inputs = {(each.name, each.type) for each in self._session.get_inputs()}
        needed = {
            (each.name, "tensor(string)" if each.kind == "category" else "tensor(float)") for each in encoder.schema
        }
        if inputs != needed:
            odd = ", ".join(sorted({name for name, _ in inputs ^ needed}))
            raise BundleSchemaMismatch(f"the inputs of the model differ from schema.json in: {odd}")
        if "probabilities" not in {each.name for each in self._session.get_outputs()}:
            raise BundleSchemaMismatch("the model has no output `probabilities`")

    def score(self, encoded: Encoded) -> NDArray[np.float64]:
        """See `leeway.model.bundle.Scorer`."""
        (probabilities,) = self._session.run(["probabilities"], self._encoder.onnx_feed(encoded))
        # Sums of 32-bit floats may exceed 1 by rounding.
        return np.asarray(probabilities[:, 1], dtype=np.float64).clip(0.0, 1.0)


def to_onnx(pipeline: Pipeline, encoder: Encoder) -> bytes:
    """Convert a pipeline to an ONNX model: one (n, 1) input a feature, outputs `label` and `probabilities` (n, 2).

    Raises:
        NotExpressible: ONNX has no counterpart for a part of it.
    """
    import skl2onnx  # noqa: PLC0415 (slow to import, and missing where no model is trained)
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType  # noqa: PLC0415 (the same)

    inputs = [
        (name, (StringTensorType if name in encoder.text_names else FloatTensorType)([None, 1]))
        for name in encoder.schema.names
    ]
    options: dict[Any, Any] = {id(pipeline): {"zipmap": False}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # skl2onnx calls deprecated parts of onnx
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

    Any other node of that name (the output `label`, say) is renamed.
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
