from __future__ import annotations

import io

import msgspec
import pytest
from rich.console import Console

from cli.doctor.check import CheckResult, CheckState
from cli.doctor.report import document, show
from cli.doctor.run import Results
from cli.doctor.service import SyntheticPrediction

OK = CheckResult("service", "ok", "ready, model churn v1", version="0.1.0", clock_ahead_s=0.123)
UNREACHABLE = CheckResult("jaeger", "failed", "is unreachable: nothing listens at http://jaeger:16686", "start it")
FULL = CheckResult("disk", "warning", "free for spool: 0.5 GiB.", "make room")
UNSET = CheckResult("grafana", "skipped", "not checked: LEEWAY_GRAFANA_URL is not set")


def having(*results: CheckResult) -> Results:
    """Results that found these."""
    return Results(results[:2], results[2:], (), SyntheticPrediction("p", "t"), 1.234)


def shown(results: Results, *, terminal: bool = False, width: int = 80) -> str:
    """The printed text."""
    out = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)
    show(out, results)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


@pytest.mark.parametrize("state", ["warning", "failed"])
def test_problems_need_a_next_step(state: CheckState) -> None:
    """A warning or failure without a next step is a programming error."""
    with pytest.raises(ValueError, match="needs a next step"):
        CheckResult("disk", state, "full")


def test_only_failures_count() -> None:
    """Warnings and skipped checks are not failures."""
    assert having(OK, FULL, UNSET).all_well
    assert not having(OK, UNREACHABLE).all_well


def test_the_document_keeps_its_shape() -> None:
    """Programs read it; another shape needs another `schema`."""
    found = msgspec.to_builtins(document(having(OK, UNREACHABLE)))
    assert found.keys() == {
        "schema", "ok", "version", "examined_at", "took_seconds", "prediction", "checks"
    }  # fmt: skip
    assert (found["schema"], found["ok"], found["took_seconds"]) == (1, False, 1.234)
    assert found["prediction"] == {"prediction_id": "p", "trace_id": "t"}
    assert list(found["checks"]) == [
        {
            "check": "service",
            "state": "ok",
            "found": "ready, model churn v1",
            "next": None,
            "version": "0.1.0",
            "clock_ahead_seconds": 0.123,
        },
        {
            "check": "jaeger",
            "state": "failed",
            "found": "is unreachable: nothing listens at http://jaeger:16686",
            "next": "start it",
            "version": None,
            "clock_ahead_seconds": None,
        },
    ]


def test_a_missing_prediction_is_null() -> None:
    """Without a service there is no prediction."""
    assert document(Results((UNREACHABLE,), (), (), None, 0.1))["prediction"] is None


def test_in_a_pipe_each_check_is_a_line() -> None:
    """Lines are not wrapped, and each failure ends with the next step."""
    lines = shown(having(OK, UNREACHABLE, FULL, UNSET), width=40).splitlines()
    assert [line.split()[:2] for line in lines[:4]] == [
        ["ok", "service"],
        ["failed", "jaeger"],
        ["warning", "disk"],
        ["skipped", "grafana"],
    ]
    assert lines[1].endswith("http://jaeger:16686. Next: start it")
    assert lines[2].endswith("0.5 GiB. Next: make room")
    assert len(lines) == 5


def test_a_terminal_gets_a_table() -> None:
    """The table has all checks at any width."""
    text = shown(having(OK, UNREACHABLE, FULL, UNSET), terminal=True, width=60)
    assert {"service", "jaeger", "disk", "grafana"} <= set(text.split())
    assert "→ start it" in text
    assert max(map(len, text.splitlines()[:-1])) <= 60


@pytest.mark.parametrize(
    ("results", "summary"),
    [
        ((OK, OK), "All 2 checks passed. 1.2 s."),
        ((OK, UNSET), "The only check passed; 1 skipped. 1.2 s."),
        ((OK, FULL), "All 2 checks passed; warnings: disk. 1.2 s."),
        ((OK, UNREACHABLE), "1 of 2 checks failed: jaeger. 1.2 s."),
    ],
)
def test_the_last_line_is_a_summary(results: tuple[CheckResult, ...], summary: str) -> None:
    """The last line sums up all checks."""
    assert shown(having(*results)).splitlines()[-1] == summary


def test_markup_is_not_interpreted() -> None:
    """A server's text may look like markup."""
    odd = CheckResult("service", "failed", "rejected: [bold]no[/]", "read [the] log")
    for terminal in (False, True):
        text = shown(having(odd), terminal=terminal, width=200)
        assert "[bold]no[/]" in text
        assert "read [the] log" in text
