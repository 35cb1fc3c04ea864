"""A hand-written FastAPI route around the same ONNX model, and nothing else: the baseline of `serve.py`.

With `--instrumented` it has OpenTelemetry's instrumentation, set up as its documentation shows.
"""

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


def instrument(app: FastAPI) -> None:
    """Export spans and metrics by OTLP over HTTP, with every default."""
    # ruff: noqa: PLC0415
    from opentelemetry import metrics, trace
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    metrics.set_meter_provider(MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())]))
    FastAPIInstrumentor.instrument_app(app)


def main(model: str, port: str, *options: str) -> None:
    """Serve the route until a stop signal."""
    app = bare_app(model)
    if "--instrumented" in options:
        instrument(app)
    uvicorn.run(app, port=int(port), access_log=False, log_level="warning")


if __name__ == "__main__":
    model, *rest = sys.argv[1:]
    main(model, *sorted(rest, key=lambda each: each.startswith("--")))
