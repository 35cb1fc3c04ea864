from __future__ import annotations

import json
from pathlib import Path

import pytest

from leeway.telemetry.environment import TelemetryError
from leeway.telemetry.providers import providers_from_environment
from tests.leeway.telemetry.providers.made import Start, span_exporters
from tests.telemetry import IDENTITY


def test_spans_can_go_to_a_file(tmp_path: Path) -> None:
    """Each span becomes one line of JSON, in a folder that is made where it is missing."""
    path = tmp_path / "new" / "spans.jsonl"
    with providers_from_environment(IDENTITY, metrics_endpoint=False, spans_file=path) as made:
        for name in ("one", "two"):
            made.tracer.start_span(name).end()
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == ["one", "two"]


def test_a_spans_file_that_cannot_be_written_is_refused(start: Start, tmp_path: Path) -> None:
    """The error names the setting, the path and what to do."""
    with pytest.raises(TelemetryError, match=rf"LEEWAY_SPANS_FILE={tmp_path}: .*name a writable file"):
        start(spans_file=tmp_path)


def test_a_full_disk_costs_spans_only() -> None:
    """Where a span cannot be written, the export fails without an exception."""
    with providers_from_environment(IDENTITY, metrics_endpoint=False, spans_file=Path("/dev/full")) as made:
        exporter = span_exporters(made)[0]
        made.tracer.start_span("lost").end()
        result = exporter.export([made.tracer.start_span("lost as well")])
    assert result.name == "FAILURE"
