"""What the monthly flow does, without Prefect: which months it compares, by which commands, and what it publishes.

It runs in Prefect's environment, which lacks Leeway's dependencies: so it imports the standard library only, runs the
installed `leeway` command, and reads the result as plain JSON (`docs/results.md`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

COMMAND: Final = ("leeway",)
TIMEOUT_S: Final = 3_600.0
_EVENT_MEMBERS: Final = ("recommendation", "decision", "reason", "share", "threshold", "model", "verdicts", "reports")
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]<>|#~!])")


class CommandFailed(Exception):
    """A `leeway` command failed; the message is what it printed on standard error."""


class ComparisonUnknown(Exception):
    """The months could not be compared; the message says why."""


@dataclass(frozen=True)
class FlowSettings:
    """What the flow takes from its environment; the command reads its own settings there."""

    source: str | None = None
    report_dir: str | None = None
    reports_url: str | None = None
    webhook_url: str | None = None

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> FlowSettings:
        """Read the environment; an empty variable counts as not set."""
        names = ("LEEWAY_SOURCE", "REPORT_DIR", "LEEWAY_REPORTS_URL", "LEEWAY_WEBHOOK_URL")
        return cls(*(environment.get(name) or None for name in names))


@dataclass(frozen=True)
class Months:
    """The two periods to compare, as `leeway drift run` takes them."""

    reference: str
    current: str

    @classmethod
    def chosen(cls, reference: str | None, current: str | None, *, today: date, of_source: bool) -> Months:
        """The chosen periods; by default the last full month, and the one before it as the reference.

        A month is its last day, as `leeway ingest` names it, or of a source all its days.

        >>> Months.chosen(None, None, today=date(2024, 3, 2), of_source=False)
        Months(reference='2024-01-31', current='2024-02-29')
        >>> Months.chosen(None, None, today=date(2024, 3, 2), of_source=True).current
        '2024-02-01..2024-02-29'
        """
        last = today.replace(day=1) - timedelta(days=1)
        before = last.replace(day=1) - timedelta(days=1)
        names = [f"{each.replace(day=1)}..{each}" if of_source else each.isoformat() for each in (before, last)]
        return cls(reference or names[0], current or names[1])

    @property
    def options(self) -> list[str]:
        """The options of the command; `=` keeps a text that begins with a hyphen from being an option."""
        return [f"--reference={self.reference}", f"--current={self.current}"]

    def __str__(self) -> str:
        return f"{self.current} against {self.reference}"


@dataclass(frozen=True)
class Comparison:
    """A comparison: the two lines that `leeway drift run` printed, and its result."""

    months: Months
    lines: tuple[str, ...]
    result: Mapping[str, Any]


def check(months: Months, source: str | None, *, command: Sequence[str] = COMMAND) -> str:
    """Check that both months have rows, and return a line for each.

    Raises:
        CommandFailed: a month is missing, or cannot be read now.
    """
    return _run(command, ["drift", "check", *months.options, *_source(source)]).strip()


def compare(
    months: Months, source: str | None, report_dir: str | None, *, command: Sequence[str] = COMMAND
) -> Comparison:
    """Compare the months, and write the report's HTML and JSON to `report_dir` (by default `LEEWAY_REPORTS`).

    Raises:
        CommandFailed: there is no result.
    """
    folder = [] if report_dir is None else [f"--report-dir={report_dir}"]
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "result.json"
        options = [*months.options, *_source(source), *folder, f"--result={file}", "--quiet"]
        printed = _run(command, ["drift", "run", *options], unless=file)
        return Comparison(months, tuple(printed.splitlines()), json.loads(file.read_bytes()))


def judge(comparison: Comparison) -> str:
    """The recommendation.

    Raises:
        ComparisonUnknown: the months could not be compared.
    """
    if comparison.result["decision"] == "UNKNOWN":
        raise ComparisonUnknown(comparison.result["reason"])
    return str(comparison.result["recommendation"])


def markdown(comparison: Comparison, reports_url: str | None) -> str:
    """The verdicts, with a link to the report on the page at `reports_url`, or the report's path without one."""
    result = comparison.result
    report = _report(result["reports"]["html"], reports_url)
    share = "n/a" if result["share"] is None else f"{result['share']:.2f}"
    rows = [f"| {name} | {each['state']} | {_escaped(each['evidence'])} |" for name, each in result["verdicts"].items()]
    return "\n".join(
        [
            f"# {_escaped(str(comparison.months))}: {result['recommendation']}",
            "",
            _escaped(result["reason"]),
            "",
            "| question | verdict | evidence |",
            "| --- | --- | --- |",
            *rows,
            "",
            f"Drift share {share}, threshold {result['threshold']:.2f}. {report}",
            "",
        ]
    )


def event(comparison: Comparison, reports_url: str | None) -> dict[str, Any]:
    """The CloudEvents document of a comparison. Its `id` is the run's, so that a receiver can detect a repetition."""
    result, months = comparison.result, comparison.months
    data = {"reference": months.reference, "current": months.current} | {name: result[name] for name in _EVENT_MEMBERS}
    data["report_url"] = _report_url(result["reports"]["html"], reports_url)
    return _cloud_event(result["run_id"], "io.leeway.drift.months.compared", data)


def failure_event(run_id: str, reason: str | None) -> dict[str, Any]:
    """The CloudEvents document of a flow run that failed."""
    return _cloud_event(run_id, "io.leeway.drift.months.failed", {"reason": reason or "unknown"})


def _cloud_event(identity: str, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": identity,
        "source": "leeway/monitor-flow",
        "type": kind,
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": dict(data),
    }


def _run(command: Sequence[str], arguments: Sequence[str], *, unless: Path | None = None) -> str:
    """Run `leeway`, and return what it printed; with the file `unless`, its exit code does not matter."""
    name = f"leeway {' '.join(arguments[:2])}"
    try:
        done = subprocess.run(  # noqa: S603 (our own command, without a shell)
            [*command, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise CommandFailed(f"{name} took longer than {TIMEOUT_S:.0f} s") from None
    if done.returncode and not (unless and unless.is_file()):
        said = done.stderr.strip() or done.stdout.strip() or "it printed nothing"
        raise CommandFailed(f"{name} ended with exit code {done.returncode}: {said}")
    return done.stdout


def _source(source: str | None) -> list[str]:
    return [] if source is None else [f"--source={source}"]


def _report_url(path: str | None, reports_url: str | None) -> str | None:
    return f"{reports_url.rstrip('/')}/{Path(path).name}" if path and reports_url else None


def _report(path: str | None, reports_url: str | None) -> str:
    if path is None:
        return "There is no report."
    url = _report_url(path, reports_url)
    return f"Report: [{_escaped(Path(path).name)}]({url})" if url else f"Report: `{path}`"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: evidence holds values of the data."""
    return _MARKDOWN.sub(r"\\\1", " ".join(text.split()))
