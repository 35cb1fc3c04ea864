from __future__ import annotations

import pytest
from opentelemetry.sdk.resources import OTELResourceDetector

from leeway.telemetry.environment import instance_is_given, serves_metrics
from tests.leeway.telemetry.made import ENDPOINT, NOWHERE


@pytest.mark.parametrize(
    ("attributes", "is_given"),
    [
        ("", False),
        ("service.instance.id=service", True),
        (" service.instance.id = service ", True),
        ("deployment.environment.name=prod,service.instance.id=a", True),
        ("service.instance.id=", True),
        ("service.instance.id", False),
        ("other=service.instance.id=a", False),
    ],
)
def test_an_instance_id_is_detected_as_by_the_sdk(
    attributes: str,
    is_given: bool,  # noqa: FBT001 (an expectation)
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """We read the variable without the SDK, with the same result."""
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", attributes)
    assert instance_is_given() is is_given
    assert ("service.instance.id" in OTELResourceDetector().detect().attributes) is is_given


def test_disabled_telemetry_has_no_instance_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes may run, because none reports an id."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=a")
    assert not instance_is_given()


@pytest.mark.parametrize(
    ("environment", "wanted", "expected"),
    [
        ({}, None, True),
        ({}, False, False),
        ({ENDPOINT: NOWHERE}, None, False),
        ({ENDPOINT: NOWHERE}, True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": NOWHERE}, None, True),
        ({"OTEL_SDK_DISABLED": "true"}, True, False),
        ({ENDPOINT: NOWHERE, "OTEL_METRICS_EXPORTER": "otlp,prometheus"}, None, True),
        ({"OTEL_METRICS_EXPORTER": "none"}, None, False),
    ],
    ids=["default", "off", "with a Collector", "both", "a Collector for traces", "disabled", "prometheus", "none"],
)
def test_metrics_are_served_if_they_are_not_exported(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    wanted: bool | None,  # noqa: FBT001 (pytest gives it by name)
    expected: bool,  # noqa: FBT001 (as above)
) -> None:
    """`/metrics` is on by default if nothing else is chosen; the setting takes precedence, `OTEL_SDK_DISABLED` too."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert serves_metrics(wanted) is expected
