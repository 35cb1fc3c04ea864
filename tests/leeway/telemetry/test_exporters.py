from __future__ import annotations

import json
from pathlib import Path

import pytest

from leeway.telemetry import instruments, names
from leeway.telemetry.environment import TelemetryError
from leeway.telemetry.providers import providers_from_environment
from tests.leeway.telemetry.made import Start, span_exporters
from tests.telemetry import IDENTITY


def test_spans_are_written_to_a_file(tmp_path: Path) -> None:
    """Each span is one line of JSON; a missing folder is created."""
    path = tmp_path / "new" / "spans.jsonl"
    with providers_from_environment(IDENTITY, metrics_endpoint=False, spans_file=path) as made:
        for name in ("one", "two"):
            made.tracer.start_span(name).end()
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == ["one", "two"]


def test_an_unwritable_spans_file_is_rejected(start: Start, tmp_path: Path) -> None:
    """The error names the setting, the path and what to do."""
    with pytest.raises(TelemetryError, match=rf"LEEWAY_SPANS_FILE={tmp_path}: .*name a writable file"):
        start(spans_file=tmp_path)


def test_a_full_disk_only_loses_spans() -> None:
    """If a span cannot be written, the export fails without an exception."""
    with providers_from_environment(IDENTITY, metrics_endpoint=False, spans_file=Path("/dev/full")) as made:
        exporter = span_exporters(made)[0]
        made.tracer.start_span("lost").end()
        result = exporter.export([made.tracer.start_span("lost as well")])
    assert result.name == "FAILURE"


def test_metrics_text_is_prometheus_text(start: Start) -> None:
    """The text has the counter, without labels of the instrumentation scope."""
    made = start(metrics_endpoint=True)
    instruments.counter(made.meter, names.LOG_WRITTEN).add(3)
    assert made.metrics_text is not None
    body, content_type = made.metrics_text()
    assert "leeway_prediction_log_written_total 3.0" in body.decode().splitlines()
    assert content_type.startswith("text/plain")
