from __future__ import annotations

import pytest
from opentelemetry.sdk.resources import OTELResourceDetector

from leeway.telemetry.environment import instance_is_given


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
def test_a_given_instance_is_seen_as_the_sdk_sees_it(
    attributes: str,
    is_given: bool,  # noqa: FBT001 (an expectation)
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """We read the variable without the SDK, and find the instance where the SDK does."""
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", attributes)
    assert instance_is_given() is is_given
    assert ("service.instance.id" in OTELResourceDetector().detect().attributes) is is_given


def test_where_telemetry_is_off_no_instance_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody bears a name then, so several processes may run."""
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=a")
    assert not instance_is_given()
