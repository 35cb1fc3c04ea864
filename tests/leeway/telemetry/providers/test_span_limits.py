"""How long a span attribute's text may be: a bound of ours, unless the environment names another."""

from __future__ import annotations

import pytest

from leeway.telemetry.environment import TelemetryError
from leeway.telemetry.providers import ATTRIBUTE_CHARACTERS, providers_from_environment
from tests.telemetry import IDENTITY, attributes_of, telemetry_in_memory

VARIABLES = ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")


@pytest.fixture(autouse=True)
def _no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without a limit in the environment."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def length_kept() -> int:
    """How many characters are left of a long text."""
    with telemetry_in_memory() as telemetry:
        telemetry.providers.tracer.start_span("work", attributes={"agent": "x" * 10_000}).end()
        (span,) = telemetry.spans()
    return len(attributes_of(span)["agent"])


def test_a_long_text_is_cut() -> None:
    """Whatever comes into a span from outside, it takes no more memory than that."""
    assert length_kept() == ATTRIBUTE_CHARACTERS


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_environments_length_goes_before_ours(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """Longer or shorter, what the SDK's variables say holds."""
    monkeypatch.setenv(variable, "5000")
    assert length_kept() == 5_000


def test_an_empty_variable_sets_no_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with every other variable, it counts as not set."""
    monkeypatch.setenv(VARIABLES[0], "")
    assert length_kept() == ATTRIBUTE_CHARACTERS


def test_a_length_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service says so and does not start, rather than keep everything."""
    monkeypatch.setenv(VARIABLES[1], "long")
    with (
        pytest.raises(TelemetryError, match=VARIABLES[1]),
        providers_from_environment(IDENTITY, metrics_endpoint=False),
    ):
        pass


def test_a_traceback_is_not_cut() -> None:
    """An exception's stack is ours, long, and worth it."""
    with telemetry_in_memory() as telemetry:
        span = telemetry.providers.tracer.start_span("work")
        span.add_event("exception", {"exception.stacktrace": "x" * 10_000})
        span.end()
        (told,) = telemetry.spans()
    assert len(str((told.events[0].attributes or {})["exception.stacktrace"])) == 10_000
