"""The model as all peers call it: the features of one request in, the answer out."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

THRESHOLD = 0.5


class Scorer:
    """An ONNX model whose inputs are the features, one row at a time."""

    def __init__(self, model: str) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._texts = {each.name for each in self._session.get_inputs() if each.type == "tensor(string)"}

    def answer(self, features: dict[str, Any]) -> dict[str, float]:
        """The prediction and the probability of one customer."""
        feed = {
            name: np.array([[value]], dtype=object)
            if name in self._texts
            else np.array([[np.nan if value is None else value]], dtype=np.float32)
            for name, value in features.items()
        }
        probability = float(self._session.run(["probabilities"], feed)[0][0, 1])
        return {"prediction": int(probability >= THRESHOLD), "probability": probability}
