"""Score with ONNX Runtime."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from leeway.model.encoding import Encoded, Encoder
from leeway.model.manifest import BundleDamaged, BundleSchemaMismatch

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read on import; without it ONNX Runtime reports to its vendor
import onnxruntime


class OnnxScorer:
    """Scores with ONNX Runtime on one thread: a request is small, and requests share the cores.

    The model has an output `probabilities` of the target's classes, or for a regression `variable`.

    Raises:
        BundleDamaged: ONNX Runtime cannot load the model.
        BundleSchemaMismatch: its inputs or outputs do not match the schema.
    """

    def __init__(self, model: bytes, encoder: Encoder) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # errors are raised; they need not be logged as well
        target = encoder.schema.target
        self._encoder = encoder
        self._output = "variable" if target.task == "regression" else "probabilities"
        self._positive = target.classes.index(target.positive) if target.positive is not None else None
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
        shapes = {each.name: each.shape for each in self._session.get_outputs()}
        if self._output not in shapes:
            raise BundleSchemaMismatch(f"the model has no output `{self._output}`, which a {target.task} model has")

    def score(self, encoded: Encoded) -> NDArray[np.float64]:
        """See `leeway.model.bundle.Scorer`."""
        (found,) = self._session.run([self._output], self._encoder.onnx_feed(encoded))
        if self._output == "variable":
            return np.asarray(found, dtype=np.float64).reshape(len(encoded))
        chosen = found if self._positive is None else found[:, self._positive]
        # Sums of 32-bit floats may exceed 1 by rounding.
        return np.asarray(chosen, dtype=np.float64).clip(0.0, 1.0)
