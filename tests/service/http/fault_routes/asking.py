"""Faults as a client asks for them, and the asking."""

from __future__ import annotations

from typing import Any

from tests.service.observed import Observed

DELAY_MS = 30
SLOW: dict[str, Any] = {"slow_scoring": {"milliseconds": DELAY_MS}}
SLOW_STORE: dict[str, Any] = {"slow_snapshots": {"milliseconds": DELAY_MS, "probability": 1}}
NO_STORE: dict[str, Any] = {"no_snapshots": True}
FAILING: dict[str, Any] = {"errors": {"probability": 1}}


def put(service: Observed, faults: dict[str, Any], seconds: float = 60) -> Any:  # noqa: ANN401 (the client's response, of a library without stable types)
    """Put faults in force, and forget the span of that."""
    response = service.client.put("/faults", json={**faults, "seconds": seconds})
    service.telemetry.forget_spans()
    return response
