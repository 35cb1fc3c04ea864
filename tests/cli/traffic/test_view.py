from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from cli.traffic.plan import Plan
from cli.traffic.rows import DrawnRows
from cli.traffic.tally import NOT_SENT, Tally
from cli.traffic.view import View
from leeway.schema import CHURN_SCHEMA

NARROW = 50


@pytest.fixture
def tally() -> Tally:
    """A hundred requests of 20 ms each, and one that was not sent, with drift."""
    made = Tally()
    for place in range(100):
        made.due("features", 0.4, 1.0)
        made.took("features", 0.020, place / 100)
        made.lateness.add(0.0001)
        made.answered["features"] += 1
    made.due("features", 0.4, 1.0)
    made.errors[NOT_SENT] += 1
    return made


def screen(width: int = NARROW) -> Console:
    """A terminal that keeps its output."""
    return Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)


def shown(out: Console) -> str:
    """The output."""
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


def summary(tally: Tally) -> str:
    """The summary in a narrow terminal."""
    out = screen()
    rows = DrawnRows(CHURN_SCHEMA)
    plan = Plan(rate=10, duration_s=10, rows=rows, schema=CHURN_SCHEMA, drift=0.4, concept_drift=1.0)
    View(out, tally, 10.0).summary(plan, "a rule", 10.0)
    return shown(out)


def unwrapped(text: str) -> str:
    """On one line, with single spaces."""
    return " ".join(text.split())


def test_the_frame_fits_a_narrow_terminal(tally: Tally) -> None:
    """Rate, errors, drift and three latencies fit below the bar in 50 columns."""
    out = screen()
    out.print(View(out, tally, 10.0).frame(2.0))
    bar, state, latencies = shown(out).splitlines()
    assert bar.endswith("2 of 10 s")
    assert state.split() == ["50.0/s", "errors", "1", "drift", "0.40", "concept", "1.00"]
    assert latencies.split() == ["p50", "20.0", "ms", "p95", "20.0", "ms", "p99", "20.0", "ms"]


def test_a_run_without_end_shows_how_to_end_it(tally: Tally) -> None:
    """Without a duration the bar shows the elapsed time and that Ctrl-C ends the run."""
    out = screen()
    out.print(View(out, tally, None).frame(2.0))
    assert shown(out).splitlines()[0].endswith("2 s, until Ctrl-C")


def test_the_summary_says_what_happened(tally: Tally) -> None:
    """The summary has counts, errors by kind, latencies, drift and labels, and its table is not wrapped."""
    tally.labels, tally.label_errors["HTTP 503"] = 90, 10
    text = summary(tally)
    assert "101 requests in 10.0 s (10.1/s), 100 answered, 1 error latency" in unwrapped(text)
    assert re.search(r"^by features +101( +(19|20)\.\d){4} *$", text, re.MULTILINE)
    assert f"Errors: 1 × {NOT_SENT}." in text
    assert "Drift: 101 requests drifted, with strength 0.40" in unwrapped(text)
    assert "Labels: 90 posted; not accepted: 10 × HTTP 503. They follow a rule, with concept drift 1.00" in unwrapped(
        text
    )
    assert "This machine was busy" not in text


def test_a_late_sender_says_so(tally: Tally) -> None:
    """If requests were sent late, the summary says that the latencies include that."""
    for _ in range(10):
        tally.lateness.add(0.05)
    assert re.search(r"requests were sent up to (49|50|51)\.\d ms late", unwrapped(summary(tally)))
