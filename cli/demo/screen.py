"""The terminal output: stages with their times, then the story live; in a pipe, the same as plain lines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.console import Console, Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cli.demo.play import Played
from cli.demo.samples import Figures
from cli.live_display import DRAW_EVERY_S, LINE_EVERY_S, draw, is_lively, ms, wait_for
from drift.report.page.words import HEADLINE, STATE, number
from drift.result import QUESTIONS, RunResult

SPARKS: Final = "▁▂▃▄▅▆▇█"
PLAIN_SPARKS: Final = "_.-=+*%#"
_WIDTH = 36
_BAR = 30
_STYLES = {"ok": "green", "watch": "yellow", "act": "red", "unknown": "dim"}


class Screen:
    """Shows the progress: live in a terminal; elsewhere each line is printed once."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._sparks, self._tick = (PLAIN_SPARKS, "-") if out.options.ascii_only else (SPARKS, "✓")

    @contextmanager
    def stage(self, doing: str) -> Iterator[list[str]]:
        """Show a spinner during the block, then its time and what the block added to the list."""
        began_s = time.monotonic()
        details: list[str] = []
        with self._out.status(doing):
            yield details
        took_s = time.monotonic() - began_s
        self.say(f"{self._tick} {doing:<24} {took_s:4.1f} s  {'; '.join(details)}".rstrip())

    def say(self, line: str) -> None:
        """Print one line as it is."""
        self._out.print(line, markup=False, highlight=False, soft_wrap=True)

    async def show(self, played: Played, over: asyncio.Event) -> None:
        """Show the story until `over` is set."""
        if is_lively(self._out):
            await draw(self._out, lambda: self.frame(played), over)
            return
        announced, due_s = 0, 0.0
        while not over.is_set():
            if len(played.began) > announced:
                announced = len(played.began)
                self.say(f"Act {announced} of {len(played.acts)}: {played.act.title}. {played.act.description}")
            if played.now_s >= due_s and played.samples.now:
                self.say(f"  {played.now_s:5.0f} s  {self.line(played)}")
                due_s = played.now_s + LINE_EVERY_S
            await wait_for(over, DRAW_EVERY_S)

    def line(self, played: Played) -> str:
        """Current latency, drift and verdicts on one line."""
        run = _newest(played.runs)
        verdicts = (
            ", ".join(f"{question} {run.verdicts[question].state}" for question in QUESTIONS) if run else "no run yet"
        )
        headline = HEADLINE[run.recommendation] if run else "–"
        return "  ".join((*_latency(played.samples.now), _share(run), verdicts, headline))

    def frame(self, played: Played) -> Group:
        """A bar with the act; below it the figures, with sparklines for p95 and the share."""
        run, total_s = _newest(played.runs), sum(act.lasts_s for act in played.acts)
        head = Table.grid(padding=(0, 1))
        title = f"{played.act.title}; waiting for the last comparison" if played.settling else played.act.title
        at_s = min(played.now_s, total_s)
        head.add_row(
            ProgressBar(total=total_s, completed=at_s, width=_BAR),
            Text(f"{at_s:.0f} of {total_s:.0f} s", style="dim"),
            Text(f"Act {played.number + 1} of {len(played.acts)}: {title}", style="bold"),
        )
        figures = played.samples.over_time[-2 * _WIDTH :: 2]
        lines = Table.grid(padding=(0, 2))
        lines.add_row(
            "latency", "  ".join(_latency(played.samples.now)), self.spark([each.latency.p95 for each in figures])
        )
        lines.add_row("drift", _share(run), self.spark([each.share for each in played.runs[-_WIDTH:]], top=1.0))
        return Group(head, Text(played.act.description, style="dim"), lines, _verdicts(run), _recommendation(run))

    def spark(self, values: Sequence[float | None], top: float = 0.0) -> str:
        """One character per value, from 0 to the highest or `top`; a blank for None."""
        highest = max((value for value in values if value is not None), default=0.0)
        highest = max(highest, top) or 1.0
        last = len(self._sparks) - 1
        return "".join(" " if value is None else self._sparks[round(last * value / highest)] for value in values)


def _newest(runs: Sequence[RunResult]) -> RunResult | None:
    return runs[-1] if runs else None


def _latency(figures: Figures | None) -> tuple[str, ...]:
    if figures is None:
        return ("no answers yet",)
    names = (("p50", figures.latency.p50), ("p95", figures.latency.p95), ("p99", figures.latency.p99))
    return (f"{figures.rate:4.0f}/s", *(f"{name} {ms(value):>7}" for name, value in names))


def _share(run: RunResult | None) -> str:
    if run is None or run.share is None:
        return "share n/a"
    sign = ">=" if run.share >= run.threshold else "<"
    return f"share {number(run.share)} {sign} {number(run.threshold)}"


def _verdicts(run: RunResult | None) -> Text:
    text = Text("verdicts  ")
    for question in QUESTIONS:
        state = run.verdicts[question].state if run else "unknown"
        text.append(f"{question} ").append(state, style=_STYLES[state]).append("   ")
    return text


def _recommendation(run: RunResult | None) -> Text:
    if run is None:
        return Text("no comparison yet", style="dim")
    state = _STYLES[STATE[run.recommendation]]
    return Text(HEADLINE[run.recommendation], style=state).append(f": {run.reason}", style="dim")
