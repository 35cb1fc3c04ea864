"""Figures of a run: rounds of servers that took turns, tables of their medians, and bounds that must hold."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.serving.wrk import Load


@dataclass(frozen=True)
class Round:
    """One server under load: what the client saw, and processor time in seconds of the API process and of all."""

    load: Load
    api_s: float
    all_s: float

    @property
    def api_us(self) -> float:
        """Microseconds of the API process per request."""
        return self.api_s / self.load.requests * 1e6

    @property
    def all_us(self) -> float:
        """Microseconds of all the server's processes per request."""
        return self.all_s / self.load.requests * 1e6


@dataclass(frozen=True)
class Table:
    """The rounds of each server under one kind of load; every server has the same number of rounds."""

    title: str
    rounds: Mapping[str, Sequence[Round]]
    baseline: str = "(c)"

    def rate_ratio(self, over: str, under: str) -> float:
        """The median of the ratios of neighbouring rounds' rates."""
        pairs = zip(self.rounds[over], self.rounds[under], strict=True)
        return statistics.median(one.load.rate / other.load.rate for one, other in pairs)

    def rate(self, name: str) -> float:
        """The median of a server's requests per second."""
        return statistics.median(each.load.rate for each in self.rounds[name])

    def api_us(self, name: str) -> float:
        """The median of a server's processor time per request, of the API process, in microseconds."""
        return statistics.median(each.api_us for each in self.rounds[name])

    def all_us(self, name: str) -> float:
        """The same of all the server's processes."""
        return statistics.median(each.all_us for each in self.rounds[name])

    def p99_ms(self, name: str) -> float:
        """The median of a server's 99th percentiles."""
        return statistics.median(each.load.p99_ms for each in self.rounds[name])

    def text(self) -> str:
        """A Markdown table: processor time and rates, also relative to the baseline."""
        base = self.baseline
        lines = [
            f"**{self.title}**",
            "",
            f"| server | API µs/request | ÷ {base} | all µs/request | requests/s | ÷ {base} | p99 ms | failed |",
            "| --- | --- | --- | --- | --- | --- | --- | --- |",
        ]
        for name, rounds in self.rounds.items():
            api_us, failed = self.api_us(name), sum(each.load.failed for each in rounds)
            lines.append(
                f"| {name} | {api_us:.0f} | {api_us / self.api_us(base):.2f} | {self.all_us(name):.0f} |"
                f" {self.rate(name):,.0f} | {self.rate_ratio(name, base):.2f} | {self.p99_ms(name):.2f} | {failed} |"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class Bound:
    """What must hold of one figure; `goal` is what would be better still."""

    name: str
    value: float
    at_least: float = -math.inf
    at_most: float = math.inf
    goal: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it does. A figure that is not a number does not."""
        return self.at_least <= self.value <= self.at_most

    def text(self) -> str:
        """A row of a Markdown table."""
        limit = f"≥ {self.at_least:g}" if math.isinf(self.at_most) else f"≤ {self.at_most:g}"
        goal = "" if self.goal is None else f"{self.goal:g}"
        return (
            f"| {self.name} | {limit} | {goal} | {self.value:.3g} | {'holds' if self.holds else '**does not hold**'} |"
        )


@dataclass
class Report:
    """The tables and bounds of a run, printed as they are measured."""

    parts: list[str] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Print and keep a table or a sentence."""
        self.parts.append(text)
        print(f"\n{text}", flush=True)

    def check(
        self,
        name: str,
        value: float,
        *,
        at_least: float = -math.inf,
        at_most: float = math.inf,
        goal: float | None = None,
    ) -> None:
        """Print and keep a bound."""
        bound = Bound(name, value, at_least, at_most, goal)
        self.bounds.append(bound)
        print(f"\n{bound.text()}", flush=True)

    @property
    def holds(self) -> bool:
        """Whether all bounds hold."""
        return all(bound.holds for bound in self.bounds)

    def summary(self) -> str:
        """The bounds as a Markdown table."""
        head = ["| figure | bound | goal | measured | |", "| --- | --- | --- | --- | --- |"]
        return "\n".join([*head, *(bound.text() for bound in self.bounds)])

    def text(self) -> str:
        """The bounds, then the tables."""
        return "\n\n".join([self.summary(), *self.parts] if self.bounds else self.parts)
