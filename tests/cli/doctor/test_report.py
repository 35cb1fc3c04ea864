from __future__ import annotations

import io

import pytest
from rich.console import Console

from cli.doctor.examination import Examination
from cli.doctor.finding import Finding, State
from cli.doctor.report import document, show
from cli.doctor.service import Sent

WELL = Finding("service", "ok", "ready, model churn v1", version="0.1.0", clock_ahead_s=0.12345)
AWAY = Finding("jaeger", "failed", "is not there: nobody listens at http://jaeger:16686", "start it")
FULL = Finding("disk", "warning", "free for spool: 0.5 GiB.", "make room")
UNSET = Finding("grafana", "skipped", "not looked for: LEEWAY_GRAFANA_URL is not set")


def examined(*findings: Finding) -> Examination:
    """An examination that found these."""
    return Examination(findings[:2], findings[2:], (), Sent("p", "t"), 1.234)


def shown(examination: Examination, *, terminal: bool = False, width: int = 80) -> str:
    """What is printed."""
    out = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)
    show(out, examination)
    assert isinstance(out.file, io.StringIO)
    return out.file.getvalue()


@pytest.mark.parametrize("state", ["warning", "failed"])
def test_nobody_is_told_of_trouble_without_a_next_step(state: State) -> None:
    """A finding that asks for something says what."""
    with pytest.raises(ValueError, match="must be told what to do next"):
        Finding("disk", state, "full")


def test_only_a_failure_makes_it_ill() -> None:
    """Warnings work, and what nobody set up is not missed."""
    assert examined(WELL, FULL, UNSET).is_well
    assert not examined(WELL, AWAY).is_well


def test_the_document_has_a_shape_that_says_its_version() -> None:
    """Programs read this; a change of it is a new `schema`."""
    found = document(examined(WELL, AWAY))
    assert found.keys() == {
        "schema", "ok", "version", "examined_at", "took_seconds", "prediction", "checks"
    }  # fmt: skip
    assert (found["schema"], found["ok"], found["took_seconds"]) == (1, False, 1.234)
    assert found["prediction"] == {"prediction_id": "p", "trace_id": "t"}
    assert found["checks"] == [
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
            "found": "is not there: nobody listens at http://jaeger:16686",
            "next": "start it",
            "version": None,
            "clock_ahead_seconds": None,
        },
    ]


def test_a_prediction_that_was_not_asked_for_is_null() -> None:
    """There was no service to ask."""
    assert document(Examination((AWAY,), (), (), None, 0.1))["prediction"] is None


def test_in_a_pipe_each_check_is_a_line() -> None:
    """However long it is, and each that failed ends with the next thing to do."""
    lines = shown(examined(WELL, AWAY, FULL, UNSET), width=40).splitlines()
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
    """With all of it, whatever its width."""
    text = shown(examined(WELL, AWAY, FULL, UNSET), terminal=True, width=60)
    assert {"service", "jaeger", "disk", "grafana"} <= set(text.split())
    assert "→ start it" in text
    assert max(map(len, text.splitlines()[:-1])) <= 60


@pytest.mark.parametrize(
    ("findings", "summary"),
    [
        ((WELL, WELL), "All 2 checks went well. 1.2 s."),
        ((WELL, UNSET), "The only check went well; 1 not made, for want of something to look at. 1.2 s."),
        ((WELL, FULL), "All 2 checks went well; mind: disk. 1.2 s."),
        ((WELL, AWAY), "1 of 2 checks failed: jaeger. 1.2 s."),
    ],
)
def test_the_last_line_says_how_it_is(findings: tuple[Finding, ...], summary: str) -> None:
    """For those who read nothing else."""
    assert shown(examined(*findings)).splitlines()[-1] == summary


def test_text_of_others_is_shown_as_it_is() -> None:
    """What a server said may look like markup."""
    odd = Finding("service", "failed", "refused: [bold]no[/]", "read [the] log")
    for terminal in (False, True):
        text = shown(examined(odd), terminal=terminal, width=200)
        assert "[bold]no[/]" in text
        assert "read [the] log" in text
