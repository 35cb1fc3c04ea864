"""A runtime of MLServer with a route of its own, which takes the same bodies as the other servers."""

from __future__ import annotations

from typing import Any

from mlserver import MLModel
from mlserver.handlers import custom_handler
from pydantic import BaseModel

from benchmarks.serving.peers.scoring import Scorer


class Body(BaseModel):
    """A request."""

    features: dict[str, Any]


class Predictions(MLModel):
    """One model, in the process of the HTTP server."""

    async def load(self) -> bool:
        """Load the model."""
        self._scorer = Scorer(self.settings.parameters.uri)
        return True

    @custom_handler(rest_path="/predict")
    async def score(self, body: Body) -> dict[str, float]:
        """Score."""
        return self._scorer.answer(body.features)
