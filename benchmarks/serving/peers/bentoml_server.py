"""BentoML with one worker: `MODEL=FILE bentoml serve benchmarks.serving.peers.bentoml_server:Predictions`."""

from __future__ import annotations

import os
from typing import Any

import bentoml

from benchmarks.serving.peers.scoring import Scorer


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Predictions:
    """One model, one request at a time."""

    def __init__(self) -> None:
        self._scorer = Scorer(os.environ["MODEL"])

    @bentoml.api(route="/predict")
    def predict(self, features: dict[str, Any]) -> dict[str, float]:
        """Score."""
        return self._scorer.answer(features)
