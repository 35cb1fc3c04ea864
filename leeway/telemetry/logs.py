"""Log records as JSON lines on standard output, with the ids of the current trace.

The SDK's own `LoggingHandler` is deprecated, so a filter of ours puts the ids in; there is no log pipeline.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from time import monotonic
from typing import Any, TextIO

from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, format_span_id, format_trace_id, get_current_span

REPEAT_AFTER_S = 60.0
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
_QUOTE_HEADERS = frozenset({"opentelemetry.baggage.propagation", "opentelemetry.trace.span"})

_task_speaks_of: ContextVar[SpanContext] = ContextVar("task_speaks_of", default=INVALID_SPAN_CONTEXT)


def speak_of(context: SpanContext) -> None:
    """Give these ids to what the current task logs outside a span: a server tells of a failure when its span ended."""
    _task_speaks_of.set(context)


class TraceIds(logging.Filter):
    """Gives each record `trace_id` and `span_id` of the current span, or else of `speak_of`; None where is neither."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the ids; let every record pass."""
        context = get_current_span().get_span_context()
        context = context if context.is_valid else _task_speaks_of.get()
        record.trace_id = format_trace_id(context.trace_id) if context.is_valid else None
        record.span_id = format_span_id(context.span_id) if context.is_valid else None
        return True


class OncePerMinute(logging.Filter):
    """Lets each logger of OpenTelemetry speak once a minute: with the Collector away it would, every few seconds."""

    def __init__(self, clock_s: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock_s = clock_s
        self._quiet_until_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record may pass; every other logger's may."""
        if not record.name.startswith("opentelemetry."):
            return True
        now_s = self._clock_s()
        if now_s < self._quiet_until_s.get(record.name, now_s):
            return False
        self._quiet_until_s[record.name] = now_s + REPEAT_AFTER_S
        return True


class NoHeaders(logging.Filter):
    """Drops OpenTelemetry's warnings of what is wrong with a request's headers: they quote what a client wrote."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Say whether the record may pass; every other logger's may."""
        return record.name not in _QUOTE_HEADERS


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, ids, what `extra` gave, and the exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: value for name, value in vars(record).items() if name not in _STANDARD and value is not None}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        text = json.dumps(entry, ensure_ascii=False, default=str)
        return text.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair would fail to be written


def configure_logging(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every record of the process to `stream` (standard output by default). Call it once, at the start."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(NoHeaders())
    handler.addFilter(OncePerMinute())
    handler.addFilter(TraceIds())
    logging.basicConfig(level=level, handlers=[handler], force=True)
