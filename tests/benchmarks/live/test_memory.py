"""The arithmetic of growing memory, and the thread that samples it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from itertools import count

import pytest

from benchmarks.live.memory import MemorySample, grown, growth, in_words, sampled
from tests.service.processes import eventually


def samples(*mib: float, name: str = "service") -> list[MemorySample]:
    """A container's memory, a sample every 15 seconds."""
    return [MemorySample(number * 15.0, {name: each}) for number, each in enumerate(mib)]


def test_thirds_are_compared() -> None:
    """Each by its median, so that one high sample does not count."""
    found = growth(samples(100, 101, 500, 0, 0, 0, 150, 102, 103))
    assert found == {"service": (101, 103)}
    assert in_words(found) == "service 101 to 103"


@pytest.mark.parametrize(
    ("name", "before", "after", "is_grown"),
    [
        ("service", 200, 220, False),
        ("service", 200, 221, True),
        ("service", 30, 38, False),
        ("service", 30, 39, True),
        ("service", 200, 100, False),
        ("postgres", 60, 128, False),
        ("postgres", 60, 129, True),
        ("jaeger", 200, 512, False),
        ("jaeger", 400, 513, True),
    ],
)
def test_growth_by_more_than_a_tenth_is_said(name: str, before: float, after: float, is_grown: bool) -> None:  # noqa: FBT001 (a parameter of the test)
    """A few MiB are noise; PostgreSQL and Jaeger first fill what they set aside."""
    found = growth(samples(before, before, after, name=name))
    assert grown(found) == ([f"{name} grew from {before} to {after} MiB"] if is_grown else [])


def test_containers_come_and_go() -> None:
    """One that has ended did not grow; one that began during the samples did."""
    found = growth([MemorySample(0, {"setup": 50.0}), MemorySample(15, {}), MemorySample(30, {"service": 50.0})])
    assert grown(found) == ["service grew from 0 to 50 MiB"]


def test_nothing_is_known_without_samples() -> None:
    """An empty result, and no error."""
    assert growth([]) == {}


def test_samples_are_taken_until_the_end() -> None:
    """One after another, with rising times."""
    numbers = count()
    with sampled(lambda: {"service": float(next(numbers))}, every_s=0.001) as found:
        assert eventually(lambda: len(found) >= 3)
    taken = len(found)
    assert [each.mib["service"] for each in found] == list(range(taken))
    assert [each.at_s for each in found] == sorted(each.at_s for each in found)
    assert "memory samples_0" not in {thread.name for thread in threading.enumerate()}


def test_a_failed_sample_is_an_error() -> None:
    """It is raised at the end, so that missing samples do not look like memory that does not grow."""

    def fails() -> Mapping[str, float]:
        raise LookupError("no container")

    with pytest.raises(LookupError, match="no container"), sampled(fails):
        pass
