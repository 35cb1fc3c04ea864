"""An environment without a Collector, telemetry in memory, and providers from the environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from leeway.telemetry import providers
from leeway.telemetry.providers import Providers, providers_from_environment
from tests.leeway.telemetry.made import Start
from tests.telemetry import IDENTITY, Telemetry, telemetry_in_memory


@pytest.fixture(autouse=True)
def _no_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    """No endpoint, protocol or switch in the environment."""
    for name in ("ENDPOINT", "PROTOCOL", "TIMEOUT"):
        for signal in ("", "_TRACES", "_METRICS"):
            monkeypatch.delenv(f"OTEL_EXPORTER_OTLP{signal}_{name}", raising=False)
    for name in ("SDK_DISABLED", "SERVICE_NAME", "RESOURCE_ATTRIBUTES", "TRACES_EXPORTER", "METRICS_EXPORTER"):
        monkeypatch.delenv(f"OTEL_{name}", raising=False)


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Telemetry in memory."""
    with telemetry_in_memory() as made:
        yield made


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Create providers from the environment, given as keywords; the flush at the end times out at once."""
    monkeypatch.setattr(providers, "FLUSH_TIMEOUT_S", 0.2)
    with ExitStack() as stack:

        def make(*, metrics_endpoint: bool = False, spans_file: Path | None = None, **environment: str) -> Providers:
            for name, value in environment.items():
                monkeypatch.setenv(name, value)
            return stack.enter_context(
                providers_from_environment(IDENTITY, metrics_endpoint=metrics_endpoint, spans_file=spans_file)
            )

        yield make
