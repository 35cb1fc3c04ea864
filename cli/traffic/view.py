"""Shows the traffic: a bar and live figures in a terminal, a plain line every few seconds in a pipe, then a summary."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.live_display import LINE_EVERY_S, bare_ms, draw, is_lively, ms, wait_for
from cli.traffic.plan import Plan, RequestKind
from cli.traffic.tally import Tally, counted

LATE_MS = 10.0
KIND_NAMES: dict[RequestKind, str] = {
    "customer": "by customer",
    "features": "by features",
    "batch": "batches",
    "bad": "bad input",
}


class View:
    """Shows one tally; `now_s` are the seconds from the start."""

    def __init__(self, out: Console, tally: Tally, duration_s: float | None) -> None:
        self._out = out
        self._tally = tally
        self._duration_s = duration_s

    async def show(self, now_s: Callable[[], float], over: asyncio.Event) -> None:
        """Show until `over` is set."""
        if is_lively(self._out):
            await draw(self._out, lambda: self.frame(now_s()), over)
            return
        while not await wait_for(over, LINE_EVERY_S):
            self._out.print(self.line(now_s()), markup=False, highlight=False)

    def line(self, now_s: float) -> str:
        """The figures of the last seconds on one line."""
        state, latencies = self._figures(now_s)
        return f"{now_s:6.0f} s  {'  '.join(state + latencies)}"

    def frame(self, now_s: float) -> Group:
        """A bar, and the figures below it."""
        total = self._duration_s
        at_s = now_s if total is None else min(now_s, total)
        bar = Table.grid(padding=(0, 1))
        clock = f"{at_s:.0f} s, until Ctrl-C" if total is None else f"{at_s:.0f} of {total:g} s"
        bar.add_row(ProgressBar(total=total, completed=at_s, width=30, pulse=total is None), clock)
        state, latencies = self._figures(now_s)
        style = "red" if self._tally.failed else ""
        return Group(bar, Text("   ".join(state), style=style), Text("   ".join(latencies)))

    def _figures(self, now_s: float) -> tuple[list[str], list[str]]:
        rate, quantiles = self._tally.recent(now_s)
        state = [f"{rate:.1f}/s", f"errors {self._tally.failed:,}", f"drift {self._tally.drift:.2f}"]
        if self._tally.concept_drift:
            state.append(f"concept {self._tally.concept_drift:.2f}")
        return state, [f"p{name} {ms(each)}" for name, each in zip((50, 95, 99), quantiles, strict=True)]

    def summary(self, plan: Plan, truth: str | None, took_s: float) -> None:
        """Print what happened."""
        tally, out = self._tally, self._out
        planned, answered = tally.planned.total(), tally.answered.total()
        out.print(
            f"{planned:,} requests in {took_s:.1f} s ({planned / max(took_s, 0.001):.1f}/s), {answered:,} answered,"
            f" {tally.failed:,} error{'' if tally.failed == 1 else 's'}"
            + (f", {tally.unfinished:,} cancelled at the end" if tally.unfinished else ""),
            highlight=False,
        )
        out.print(_latencies(tally))
        for line in _remarks(tally, plan, truth):
            out.print(line, markup=False, highlight=False)


def _latencies(tally: Tally) -> Table:
    table = Table("latency in ms", "count", "p50", "p95", "p99", "longest", box=None, pad_edge=False)
    for place, column in enumerate(table.columns):
        column.no_wrap = True
        column.justify = "right" if place else "left"
    rows = [
        (name, tally.planned[kind], tally.latencies[kind]) for kind, name in KIND_NAMES.items() if tally.planned[kind]
    ]
    total = sum(tally.planned[kind] for kind in ("customer", "features", "batch"))
    rows.append(("all but bad" if tally.planned["bad"] else "all of these", total, tally.good_latencies))
    for name, count, found in rows:
        table.add_row(name, f"{count:,}", *(bare_ms(found.quantile_ms(share)) for share in (0.5, 0.95, 0.99, 1.0)))
    return table


def _remarks(tally: Tally, plan: Plan, truth: str | None) -> Iterator[str]:
    if tally.errors:
        yield f"Errors: {counted(tally.errors)}."
    if tally.planned["bad"]:
        yield f"Bad input: {tally.answered['bad']:,} of {tally.planned['bad']:,} answered; a rejection is not an error."
    if plan.drift:
        yield f"Drift: {tally.drifted:,} requests drifted, with strength {tally.drift:.2f} at the end."
    if truth is not None:
        lost = f"; not accepted: {counted(tally.label_errors)}" if tally.label_errors else ""
        drift = f", with concept drift {tally.concept_drift:.2f} at the end" if plan.concept_drift else ""
        yield f"Labels: {tally.labels:,} posted{lost}. They follow {truth}{drift}."
    late_ms = tally.lateness.quantile_ms(0.99)
    if late_ms is not None and late_ms > LATE_MS:
        late = f"requests were sent up to {ms(late_ms)} late (p99), and the latencies include that"
        yield f"This machine was busy: {late}."
