"""Spans as JSON lines in a file: what the demo reads where there is no Collector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult


class SpansFileExporter(SpanExporter):
    """Appends each span as one line of JSON (the SDK's own shape). Several processes may share the file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append the lines in one write, so that no other process writes in between; a full disk costs spans only."""
        lines = "".join(f"{span.to_json(indent=None)}\n" for span in spans)
        try:
            self._file.write(lines.encode("utf-8", "backslashreplace"))
        except OSError:
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        self._file.close()
