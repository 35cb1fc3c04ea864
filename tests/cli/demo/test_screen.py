from __future__ import annotations

import asyncio
import io
from dataclasses import replace

import pytest
from rich.console import Console

from cli.demo.play import Played
from cli.demo.samples import Sample, Samples
from cli.demo.screen import PLAIN_SPARKS, Screen
from cli.demo.story import story
from tests.cli.demo.example_run import a_run, a_useless_model, at


def console(*, terminal: bool = False, encoding: str = "utf-8", width: int = 100) -> tuple[Console, io.BytesIO]:
    """A console, and what is written to it."""
    written = io.BytesIO()
    file = io.TextIOWrapper(written, encoding=encoding, write_through=True)
    return Console(file=file, force_terminal=terminal, width=width, color_system=None), written


def played() -> Played:
    """A story in its second act, with drift above the threshold."""
    samples = Samples()
    for second in range(5):
        samples.add(Sample(at(second), {0.01: 50.0 * second, 0.1: 50.0 * second}, answered=50.0 * second))
    runs = [a_run(1, 8), a_run(2, 18, drifted=6, recommendation="INVESTIGATE")]
    return Played(story(), samples=samples, runs=runs, began=[at(0), at(10)], now_s=18.0)


def shown(what: Played, *, terminal: bool) -> str:
    """What `Screen.show` prints in a short time."""

    async def show(screen: Screen) -> None:
        over = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, over.set)
        await screen.show(what, over)

    out, written = console(terminal=terminal)
    asyncio.run(show(Screen(out)))
    return written.getvalue().decode()


def test_a_pipe_has_plain_lines() -> None:
    """In a pipe the act and its figures are one line each, without control characters."""
    act, figures = shown(played(), terminal=False).splitlines()
    assert act.startswith("Act 2 of 6: Inputs drift. The network gets worse")
    for part in ("50/s", "p95", "share 0.43 >= 0.30", "covariate act", "Investigate"):
        assert part in figures
    assert "\x1b" not in act + figures


def test_a_terminal_has_a_live_view() -> None:
    """In a terminal a bar, the act, latency, drift, the verdicts and the recommendation are shown together."""
    text = shown(played(), terminal=True)
    for part in (
        "Act 2 of 6: Inputs drift",
        "18 of 52 s",
        "p95",
        "share 0.43 >= 0.30",
        "covariate act",
        "Investigate: ",
    ):
        assert part in text


def test_unknown_values_are_shown_as_unknown() -> None:
    """Before the first sample and the first run the view says that they are missing."""
    text = shown(Played(story(), began=[at(0)]), terminal=True)
    for part in ("no answers yet", "share n/a", "quality unknown", "no comparison yet"):
        assert part in text


def test_a_narrow_terminal_works() -> None:
    """Twenty columns are enough to show something."""
    out, written = console(terminal=True, width=20)
    out.print(Screen(out).frame(played()))
    assert "Act 2" in written.getvalue().decode()


def test_sparklines_are_scaled() -> None:
    """The highest value has the highest character, 0 the lowest, and None a blank."""
    out, _ = console()
    assert Screen(out).spark([0.0, None, 4.0, 8.0]) == "▁ ▅█"
    assert Screen(out).spark([0.5], top=1.0) == "▅"
    assert Screen(out).spark([None, 0.0]) == " ▁"


def test_ascii_terminals_get_ascii() -> None:
    """A terminal with ASCII only gets ASCII characters."""
    out, written = console(encoding="ascii")
    screen = Screen(out)
    with screen.stage("Training") as said:
        said.append("done")
    assert set(screen.spark([0.0, 1.0])) <= set(PLAIN_SPARKS)
    assert written.getvalue().decode("ascii").startswith("- Training")


def test_a_stage_shows_its_time_and_outcome() -> None:
    """A completed stage is one line: its name, its seconds, its outcome; a failed one prints nothing."""
    out, written = console()
    screen = Screen(out)
    with screen.stage("Training the model") as said:
        said.append("ROC AUC 0.85")
    with pytest.raises(RuntimeError), screen.stage("Serving"):
        raise RuntimeError
    assert written.getvalue().decode().split() == ["✓", "Training", "the", "model", "0.0", "s", "ROC", "AUC", "0.85"]


def test_waiting_for_the_end_is_shown() -> None:
    """While the last comparison is missing, the view says that it waits."""
    out, written = console(width=200)
    out.print(Screen(out).frame(replace(played(), settling=at(52), runs=[a_useless_model(6, 50)])))
    text = written.getvalue().decode()
    assert "waiting for the last comparison" in text
    assert "performance act" in text
