"""Shows an examination: a table in a terminal, plain lines in a pipe, JSON for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.doctor.examination import Examination
from cli.doctor.finding import Finding, State

SCHEMA = 1
_STYLE: dict[State, str] = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
_NOBODY = "–"


def document(examination: Examination) -> dict[str, Any]:
    """The examination for programs; `schema` says which shape this is."""
    sent = examination.sent
    return {
        "schema": SCHEMA,
        "ok": examination.is_well,
        "version": version("leeway"),
        "examined_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_seconds": round(examination.took_s, 3),
        "prediction": sent and {"prediction_id": sent.prediction_id, "trace_id": sent.trace_id},
        "checks": [each.to_json() for each in examination.findings],
    }


def show(out: Console, examination: Examination) -> None:
    """Print it for people: each line of what failed ends with the next thing to do."""
    if out.is_terminal and not out.is_dumb_terminal:
        out.print(_table(examination))
    else:
        for each in examination.findings:
            text = f"{each.state:<8} {each.check:<12} {each.version or _NOBODY:<8} {_sentence(each)}"
            out.print(text, markup=False, highlight=False, soft_wrap=True)
    out.print(_summary(examination), markup=False, highlight=False, soft_wrap=True)


def _table(examination: Examination) -> Table:
    table = Table("", "", "version", "found", show_edge=False, pad_edge=False)
    for part in (examination.answering, examination.arriving, examination.standing):
        for each in part:
            found = Text(each.found, style="dim" if each.state == "skipped" else "")
            if each.next_step:
                found.append(f"\n→ {each.next_step}", style=_STYLE[each.state])
            state = Text(each.state, style=_STYLE[each.state], justify="left")
            table.add_row(state, Text(each.check), Text(each.version or _NOBODY, style="dim"), found)
        table.add_section()
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    table.columns[3].overflow = "fold"
    return table


def _sentence(finding: Finding) -> str:
    return f"{finding.found.rstrip('.')}. Next: {finding.next_step}" if finding.next_step else finding.found


def _summary(examination: Examination) -> str:
    by_state = {state: [each.check for each in examination.findings if each.state == state] for state in _STYLE}
    failed, warnings, skipped = by_state["failed"], by_state["warning"], by_state["skipped"]
    made = len(examination.findings) - len(skipped)
    well = "The only check went well" if made == 1 else f"All {made} checks went well"
    first = f"{len(failed)} of {made} checks failed: {', '.join(failed)}" if failed else well
    more = f"; mind: {', '.join(warnings)}" if warnings else ""
    left = f"; {len(skipped)} not made, for want of something to look at" if skipped else ""
    return f"{first}{more}{left}. {examination.took_s:.1f} s."
