from __future__ import annotations

import pytest

from cli.latency import axis_ms, bare_ms, ms


@pytest.mark.parametrize(
    ("value_ms", "text"),
    [(0.04, "0.04"), (0.996, "1.0"), (1.23, "1.2"), (99.9, "99.9"), (99.96, "100"), (123.4, "123"), (12_300, "12,300")],
)
def test_milliseconds_are_as_exact_as_is_read_at_a_glance(value_ms: float, text: str) -> None:
    """A latency has two decimals below 1 ms, one below 100, and none from there on, with its unit or without."""
    assert (bare_ms(value_ms), ms(value_ms)) == (text, f"{text} ms")


def test_what_is_unknown_has_no_unit() -> None:
    """Where there is no latency, it says so."""
    assert (bare_ms(None), ms(None)) == ("n/a", "n/a")


@pytest.mark.parametrize(("value_ms", "text"), [(0, "0"), (0.5, "0.5"), (20, "20"), (100, "100"), (1_000, "1,000")])
def test_an_axis_has_no_needless_zeros(value_ms: float, text: str) -> None:
    """Round numbers stand on an axis as they are said."""
    assert axis_ms(value_ms) == text
