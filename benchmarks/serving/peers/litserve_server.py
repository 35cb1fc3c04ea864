"""LitServe with the defaults of its documentation: `python -m benchmarks.serving.peers.litserve_server MODEL PORT`."""

from __future__ import annotations

import sys
from typing import Any

import litserve

from benchmarks.serving.peers.scoring import Scorer


class Predictions(litserve.LitAPI):
    """One model, one request at a time."""

    def __init__(self, model: str) -> None:
        super().__init__(api_path="/predict")
        self._model = model

    def setup(self, device: str) -> None:  # noqa: ARG002 (LitServe's signature)
        """Load the model, in the process that scores."""
        self._scorer = Scorer(self._model)

    def decode_request(self, request) -> dict[str, Any]:  # type: ignore[no-untyped-def] # noqa: ANN001 (a type makes it a query)
        """Take the features."""
        features: dict[str, Any] = request["features"]
        return features

    def predict(self, x: dict[str, Any]) -> dict[str, float]:
        """Score."""
        return self._scorer.answer(x)

    def encode_response(self, output: dict[str, float]) -> dict[str, float]:
        """Answer with what `predict` returned."""
        return output


if __name__ == "__main__":
    model, port = sys.argv[1:]
    server = litserve.LitServer(Predictions(model), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(port), num_api_servers=1, log_level="warning", generate_client_file=False)
