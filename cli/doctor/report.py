"""Shows the results: a table in a terminal, plain lines in a pipe, JSON for programs."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.doctor.check import CheckResult, CheckState
from cli.doctor.run import Results
from cli.live_display import is_lively

SCHEMA = 1
_STYLE: dict[CheckState, str] = {"ok": "green", "warning": "yellow", "failed": "bold red", "skipped": "dim"}
_NO_VERSION = "–"


def document(results: Results) -> dict[str, Any]:
    """The results for programs; `schema` is the version of this shape."""
    return {
        "schema": SCHEMA,
        "ok": results.all_well,
        "version": version("leeway"),
        "examined_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_seconds": round(results.took_s, 3),
        "prediction": results.prediction,
        "checks": results.all,
    }


def show(out: Console, results: Results) -> None:
    """Print the results for people: each failure ends with the next step."""
    if is_lively(out):
        out.print(_table(results))
    else:
        for each in results.all:
            text = f"{each.state:<8} {each.check:<12} {each.version or _NO_VERSION:<8} {_sentence(each)}"
            out.print(text, markup=False, highlight=False, soft_wrap=True)
    out.print(_summary(results), markup=False, highlight=False, soft_wrap=True)


def _table(results: Results) -> Table:
    table = Table("", "", "version", "found", show_edge=False, pad_edge=False)
    for part in (results.endpoints, results.signals, results.machine):
        for each in part:
            found = Text(each.found, style="dim" if each.state == "skipped" else "")
            if each.next_step:
                found.append(f"\n→ {each.next_step}", style=_STYLE[each.state])
            state = Text(each.state, style=_STYLE[each.state], justify="left")
            table.add_row(state, Text(each.check), Text(each.version or _NO_VERSION, style="dim"), found)
        table.add_section()
    table.columns[0].no_wrap = table.columns[1].no_wrap = True
    table.columns[3].overflow = "fold"
    return table


def _sentence(result: CheckResult) -> str:
    return f"{result.found.rstrip('.')}. Next: {result.next_step}" if result.next_step else result.found


def _summary(results: Results) -> str:
    by_state = {state: [each.check for each in results.all if each.state == state] for state in _STYLE}
    failed, warnings, skipped = by_state["failed"], by_state["warning"], by_state["skipped"]
    made = len(results.all) - len(skipped)
    passed = "The only check passed" if made == 1 else f"All {made} checks passed"
    first = f"{len(failed)} of {made} checks failed: {', '.join(failed)}" if failed else passed
    more = f"; warnings: {', '.join(warnings)}" if warnings else ""
    left = f"; {len(skipped)} skipped" if skipped else ""
    return f"{first}{more}{left}. {results.took_s:.1f} s."
