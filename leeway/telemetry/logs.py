"""Writes log records as JSON lines to standard output, with the ids of the current trace.

A filter adds the ids, because the SDK's `LoggingHandler` is deprecated. Logs are not exported by OTLP.
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

_task_context: ContextVar[SpanContext] = ContextVar("task_context", default=INVALID_SPAN_CONTEXT)


def log_with_context(context: SpanContext) -> None:
    """Use these ids for records that the current task logs outside a span, such as a failure after the span ended."""
    _task_context.set(context)


class TraceIds(logging.Filter):
    """Adds `trace_id` and `span_id` of the current span, or else of `log_with_context`, or else None."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the ids and keep the record."""
        context = get_current_span().get_span_context()
        context = context if context.is_valid else _task_context.get()
        record.trace_id = format_trace_id(context.trace_id) if context.is_valid else None
        record.span_id = format_span_id(context.span_id) if context.is_valid else None
        return True


class OncePerMinute(logging.Filter):
    """Limits each OpenTelemetry logger to a record per minute; without a Collector they log every few seconds."""

    def __init__(self, clock_s: Callable[[], float] = monotonic) -> None:
        super().__init__()
        self._clock_s = clock_s
        self._quiet_until_s: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to keep the record; those of other loggers are kept."""
        if not record.name.startswith("opentelemetry."):
            return True
        now_s = self._clock_s()
        if now_s < self._quiet_until_s.get(record.name, now_s):
            return False
        self._quiet_until_s[record.name] = now_s + REPEAT_AFTER_S
        return True


class NoHeaders(logging.Filter):
    """Drops OpenTelemetry's warnings about invalid request headers, because they quote the client."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to keep the record; those of other loggers are kept."""
        return record.name not in _QUOTE_HEADERS


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC), level, logger, message, ids, the fields of `extra`, and the exception."""

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
        # The standard library writes values of any type, and lone surrogates; msgspec rejects both.
        text = json.dumps(entry, ensure_ascii=False, default=str)
        return text.encode("utf-8", "backslashreplace").decode()  # UTF-8 cannot encode a lone surrogate


def configure_logging(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Write all records of the process to `stream` (default: standard output). Call it once, at the start."""
    handler = logging.StreamHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(NoHeaders())
    handler.addFilter(OncePerMinute())
    handler.addFilter(TraceIds())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for client in ("httpx2", "httpcore2"):
        logging.getLogger(client).setLevel(logging.WARNING)  # they log whole URLs, and a webhook's URL is a secret
