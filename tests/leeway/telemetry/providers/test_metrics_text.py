from __future__ import annotations

import pytest

from leeway.telemetry import instruments, names
from leeway.telemetry.environment import serves_metrics
from tests.leeway.telemetry.providers.made import ENDPOINT, NOWHERE, Start


@pytest.mark.parametrize(
    ("environment", "wanted", "expected"),
    [
        ({}, None, True),
        ({}, False, False),
        ({ENDPOINT: NOWHERE}, None, False),
        ({ENDPOINT: NOWHERE}, True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": NOWHERE}, None, True),
        ({"OTEL_SDK_DISABLED": "true"}, True, False),
    ],
    ids=["default", "off", "with a Collector", "both", "a Collector for traces", "disabled"],
)
def test_metrics_are_served_where_nobody_else_gets_them(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    wanted: bool | None,  # noqa: FBT001 (pytest gives it by name)
    expected: bool,  # noqa: FBT001 (as above)
) -> None:
    """`/metrics` is on by default where no endpoint takes metrics; the setting goes before; disabled is disabled."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert serves_metrics(wanted) is expected


def test_metrics_text_is_prometheus_text(start: Start) -> None:
    """What was counted stands in the text, without labels of the instrumentation's scope."""
    made = start(metrics_endpoint=True)
    instruments.counter(made.meter, names.LOG_WRITTEN).add(3)
    assert made.metrics_text is not None
    body, content_type = made.metrics_text()
    assert "leeway_prediction_log_written_total 3.0" in body.decode().splitlines()
    assert content_type.startswith("text/plain")
