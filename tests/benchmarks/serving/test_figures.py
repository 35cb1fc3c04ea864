from __future__ import annotations

import math

import pytest

from benchmarks.serving.figures import Bound, Report, Round, Table
from benchmarks.serving.wrk import Load


def made(requests: int, seconds: float, api_s: float = 1.0, failed: int = 0) -> Round:
    """A round of this rate."""
    return Round(Load(requests, seconds, p99_ms=seconds, failed=failed), api_s, 2 * api_s)


@pytest.fixture
def table() -> Table:
    """Three rounds of two servers; the machine was slower in the last."""
    ours = [made(400, 1), made(500, 1), made(50, 1, failed=1)]
    return Table("load", {"(a)": ours, "(c)": [made(100, 1, 2), made(100, 1, 4), made(10, 1, 3)]})


def test_rates_are_compared_between_neighbouring_rounds(table: Table) -> None:
    """The ratio is the median of 4, 5 and 5, although the last round of both was slow."""
    assert table.rate_ratio("(a)", "(c)") == 5
    assert (table.rate("(a)"), table.rate("(c)")) == (400, 100)


def test_processor_time_is_divided_by_the_answered_requests(table: Table) -> None:
    """It is the median over the rounds, in microseconds."""
    assert table.api_us("(a)") == pytest.approx(1 / 400 * 1e6)
    assert table.all_us("(a)") == 2 * table.api_us("(a)")
    assert table.api_us("(c)") == pytest.approx(4 / 100 * 1e6)


def test_the_table_shows_ratios_and_failures(table: Table) -> None:
    """Each server has a row, with its figures relative to (c)."""
    assert table.text().splitlines()[4] == "| (a) | 2500 | 0.06 | 5000 | 400 | 5.00 | 1.00 | 1 |"


@pytest.mark.parametrize(
    ("bound", "holds"),
    [
        (Bound("at the bound", 1.1, at_least=1.1), True),
        (Bound("too small", 1.09, at_least=1.1), False),
        (Bound("too large", 0.09, at_most=0.08), False),
        (Bound("none lost", 0, at_most=0), True),
        (Bound("between", -1, at_least=0, at_most=0), False),
        (Bound("not measured", math.nan, at_most=1), False),
    ],
    ids=lambda value: value.name if isinstance(value, Bound) else "",
)
def test_a_bound_holds_up_to_its_limit(bound: Bound, holds: bool) -> None:  # noqa: FBT001 (the expectation)
    """Limits are inclusive, and what is not a number holds no bound."""
    assert bound.holds is holds
    assert ("does not hold" in bound.text()) is not holds


def test_one_bound_that_does_not_hold_fails_the_report() -> None:
    """The report says which of them it is."""
    report = Report()
    held = []
    for name, least, most in (("fast", 2, math.inf), ("small", 0, 2)):
        report.check(name, 3, at_least=least, at_most=most, goal=4)
        held.append(report.holds)
    assert held == [True, False]
    assert report.summary().splitlines()[2:] == [
        "| fast | ≥ 2 | 4 | 3 | holds |",
        "| small | ≤ 2 | 4 | 3 | **does not hold** |",
    ]
