"""A hand-written FastAPI route around the same ONNX model, and nothing else: the baseline of `serve.py`."""

import sys
from typing import Any

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel, create_model

from leeway.schema import CHURN_SCHEMA

_TYPES = {"number": float, "integer": int, "flag": bool, "category": str}
TEXTS = frozenset(each.name for each in CHURN_SCHEMA if each.kind == "category")
_FIELDS: dict[str, Any] = {
    each.name: (_TYPES[each.kind] | None, None) if each.nullable else (_TYPES[each.kind], ...) for each in CHURN_SCHEMA
}
Features: Any = create_model("Features", **_FIELDS)


class Answer(BaseModel):
    """The answer of the hand-written route."""

    prediction: int
    probability: float


def bare_app(model: str) -> FastAPI:
    """An app with one route and one model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    app = FastAPI()

    async def predict(body: BaseModel) -> Answer:
        feed = {
            name: np.array([[value]], dtype=object)
            if name in TEXTS
            else np.array([[np.nan if value is None else value]], dtype=np.float32)
            for name, value in body.features.model_dump().items()  # type: ignore[attr-defined]
        }
        probability = float(session.run(["probabilities"], feed)[0][0, 1])
        return Answer(prediction=int(probability >= 0.5), probability=probability)

    predict.__annotations__["body"] = create_model("Body", features=(Features, ...))
    app.post("/predict")(predict)

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ok"}

    return app


if __name__ == "__main__":
    uvicorn.run(bare_app(sys.argv[1]), port=int(sys.argv[2]), access_log=False, log_level="warning")
