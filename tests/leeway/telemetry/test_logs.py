from __future__ import annotations

import json
import logging
from contextvars import copy_context
from typing import Any

from leeway.telemetry.logs import REPEAT_AFTER_S, JsonFormatter, OncePerMinute, TraceIds, log_with_context
from tests.telemetry import Telemetry, context_of, span_id, trace_id

Ids = tuple[str | None, str | None]


def record(message: str = "said", logger: str = "test", **extra: object) -> logging.LogRecord:
    """A record of `logging`."""
    return logging.makeLogRecord({"name": logger, "levelname": "INFO", "msg": message, **extra})


def line(made: logging.LogRecord) -> dict[str, Any]:
    """The record as formatted by us."""
    text = JsonFormatter().format(made)
    assert "\n" not in text
    return dict(json.loads(text))


def ids_given() -> Ids:
    """The ids that the filter adds to a record."""
    made = record()
    TraceIds().filter(made)
    return getattr(made, "trace_id"), getattr(made, "span_id")  # noqa: B009 (mypy does not know these two)


def test_a_record_is_one_json_line() -> None:
    """Time, level, logger and a message of several lines are one object on one line."""
    entry = line(record("one\ntwo"))
    assert (entry["level"], entry["logger"], entry["message"]) == ("INFO", "test", "one\ntwo")


def test_the_time_is_utc() -> None:
    """Times are in UTC, with milliseconds."""
    assert line(record(created=0.25))["time"] == "1970-01-01T00:00:00.250+00:00"


def test_extra_fields_are_kept() -> None:
    """The fields of `extra` are next to the message."""
    assert line(record(url="http://127.0.0.1:8000"))["url"] == "http://127.0.0.1:8000"


def test_an_exception_is_kept() -> None:
    """A traceback is in the same line."""
    error = ValueError("broken")
    entry = line(record(exc_info=(ValueError, error, None)))
    assert entry["exception"] == "ValueError: broken"


def test_broken_text_can_be_written() -> None:
    """A lone surrogate, which a client can send, can be written as UTF-8."""
    assert JsonFormatter().format(record("\ud800 and more")).encode()


def test_in_a_span_a_record_has_its_ids(telemetry: Telemetry) -> None:
    """Inside a span, a record has trace id and span id."""
    with telemetry.providers.tracer.start_as_current_span("work"):
        given = ids_given()
    (span,) = telemetry.spans()
    assert given == (trace_id(span), span_id(span))


def test_outside_a_span_a_record_has_no_ids() -> None:
    """Without a span both are None, and not in the line."""
    assert copy_context().run(ids_given) == (None, None)


def test_a_task_can_log_with_the_context_of_a_span_that_ended(telemetry: Telemetry) -> None:
    """After `log_with_context`, a record outside any span has the ids of that span."""
    with telemetry.providers.tracer.start_as_current_span("request"):
        pass
    (span,) = telemetry.spans()

    def late() -> Ids:
        log_with_context(context_of(span))
        return ids_given()

    assert copy_context().run(late) == (trace_id(span), span_id(span))


def test_another_task_does_not_use_that_context(telemetry: Telemetry) -> None:
    """The context applies to one task only."""
    with telemetry.providers.tracer.start_as_current_span("request"):
        pass
    copy_context().run(log_with_context, context_of(telemetry.spans()[0]))
    assert copy_context().run(ids_given) == (None, None)


def passed(*records: tuple[float, str]) -> list[bool]:
    """Which of these records, each a time in seconds and a logger, pass the filter."""
    now_s = 0.0
    quiet = OncePerMinute(lambda: now_s)
    found = []
    for now_s, logger in records:  # noqa: B007 (the clock reads it)
        found.append(bool(quiet.filter(record(logger=logger))))
    return found


def test_an_exporter_logs_once_a_minute() -> None:
    """Without a Collector an exporter would log every few seconds."""
    exporter = "opentelemetry.exporter.otlp"
    assert passed((0, exporter), (1, exporter), (REPEAT_AFTER_S - 1, exporter), (REPEAT_AFTER_S, exporter)) == [
        True,
        False,
        False,
        True,
    ]


def test_exporters_do_not_silence_one_another() -> None:
    """The limit is per logger."""
    assert passed((0, "opentelemetry.exporter.a"), (1, "opentelemetry.exporter.b")) == [True, True]


def test_other_loggers_are_not_limited() -> None:
    """The limit applies to OpenTelemetry's loggers only."""
    assert passed((0, "service"), (0, "service"), (0, "opentelemetryish")) == [True, True, True]
