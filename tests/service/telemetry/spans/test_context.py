from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.model.onnx import OnnxScorer
from leeway.telemetry import names
from tests.service.observed import Observed, broken, captured_log, entries, observed_service, served, silent_service
from tests.telemetry import parent_id, span_id, trace_id

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def test_the_answer_names_its_trace(service: Observed) -> None:
    """`trace_id` of the answer is that of the request's span."""
    answer = service.predict_customer().json()
    assert answer["trace_id"] == trace_id(service.telemetry.server_span())


def test_an_incoming_trace_is_continued(service: Observed) -> None:
    """A request with `traceparent` becomes a child in the caller's trace."""
    answer = service.predict(traceparent=f"00-{TRACE}-{PARENT}-01").json()
    server = service.telemetry.server_span()
    assert (trace_id(server), parent_id(server), answer["trace_id"]) == (TRACE, PARENT, TRACE)


def stored_ids(service: Observed, prediction_id: str) -> tuple[str | None, str | None]:
    """Trace and span as the database has them, once the mover has brought them there."""
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        with closing(sqlite3.connect(service.database)) as connection:
            row = connection.execute(
                "SELECT trace_id, span_id FROM predictions WHERE prediction_id = ?", (prediction_id,)
            ).fetchone()
        if row is not None:
            return row[0], row[1]
        time.sleep(0.05)
    raise AssertionError("the prediction did not reach the database")


def test_a_record_points_to_its_server_span(service: Observed) -> None:
    """What is recorded of a sampled request leads back to its trace."""
    answer = service.predict().json()
    server = service.telemetry.server_span()
    assert stored_ids(service, answer["prediction_id"]) == (trace_id(server), span_id(server))


def test_an_unsampled_caller_is_honoured(service: Observed) -> None:
    """Where the caller does not sample, no span is made."""
    service.predict(traceparent=f"00-{TRACE}-{PARENT}-00")
    assert service.telemetry.spans() == []


def test_an_unsampled_answer_still_names_its_trace(service: Observed) -> None:
    """The caller's trace id comes back, sampled or not."""
    answer = service.predict(traceparent=f"00-{TRACE}-{PARENT}-00").json()
    assert answer["trace_id"] == TRACE


def test_an_unsampled_record_points_nowhere(service: Observed) -> None:
    """A link to a trace that was not kept would lead nowhere, so the record has none."""
    answer = service.predict(traceparent=f"00-{TRACE}-{PARENT}-00").json()
    assert stored_ids(service, answer["prediction_id"]) == (None, None)


def test_a_sampler_of_the_environment_is_followed(
    bundle: Bundle, people: Population, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`OTEL_TRACES_SAMPLER=traceidratio` with 0 keeps no span; answers and metrics go on."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")
    with observed_service(bundle, tmp_path, people) as service:
        service.predict()
        measured = service.telemetry.collect()
    assert (service.telemetry.spans(), measured.total(names.PREDICTION_DURATION)) == ([], 1)


def test_log_lines_of_a_request_carry_its_trace(service: Observed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is logged while a request is answered has the ids of its span."""

    def broken_and_said(*_: object) -> Any:  # noqa: ANN401 (it never returns)
        logging.getLogger("model").error("about to break")
        raise RuntimeError("the model broke")

    monkeypatch.setattr(OnnxScorer, "score", broken_and_said)
    with captured_log() as log:
        service.predict()
    (line,) = [entry for entry in entries(log) if entry["logger"] == "model"]
    server = service.telemetry.server_span()
    assert (line["trace_id"], line["span_id"]) == (trace_id(server), span_id(server))


def test_the_servers_word_on_an_unexpected_error_carries_its_trace(
    service: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uvicorn logs the traceback after the span has ended; the line has the ids all the same."""
    monkeypatch.setattr(OnnxScorer, "score", broken)
    with captured_log() as log, served(service.client.app) as url:
        httpx2.post(f"{url}/predict", json={"features": service.example})
    (line,) = [entry for entry in entries(log) if "exception" in entry]
    assert line["trace_id"] == trace_id(service.telemetry.server_span())


def test_switched_off_the_answer_has_no_trace(bundle: Bundle, tmp_path: Path) -> None:
    """With `OTEL_SDK_DISABLED=true` predictions are answered with `trace_id` null."""
    with silent_service(bundle, tmp_path) as client:
        answer = client.post("/predict", json={"features": dict(bundle.card.example)})
    assert (answer.status_code, answer.json()["trace_id"]) == (200, None)


def test_switched_off_the_app_is_not_instrumented(bundle: Bundle, tmp_path: Path) -> None:
    """With `OTEL_SDK_DISABLED=true` no middleware of OpenTelemetry stands in a request's way."""
    with silent_service(bundle, tmp_path) as client:
        assert not getattr(client.app, "_is_instrumented_by_opentelemetry", False)
