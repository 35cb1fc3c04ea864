"""`leeway drift run` and `worker`."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
from rich.table import Table
from rich.text import Text

from cli.commands.ingest import open_snapshots
from cli.options import FAILED, console, plain_errors, stop
from drift.evaluation import Evaluation, evaluate, unknown_result
from drift.inputs import ComparisonInputs, load_active_bundle, read_window
from drift.one_shot import months
from drift.report.folder import ReportError, replace_file, single_reports
from drift.result import FeatureDrift, RunResult, evidently_line, leeway_line
from drift.verdicts.confirmation import Policy
from leeway.model import bundle as bundles
from leeway.model.bundle import Bundle
from leeway.model.manifest import BundleError, BundleMissing
from leeway.schema import CHURN_SCHEMA
from leeway.settings import DriftSettings
from leeway.store.engine import DatabaseError, open_engine
from leeway.store.snapshots import UnknownMonth

RETRAIN = 3
LIVE = ("bundle", "live")
_UNITS_S = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_LONGEST_S = 366 * 86_400


def run_once(
    settings: DriftSettings,
    reference: str,
    current: str,
    *,
    window: str,
    as_json: bool,
    quiet: bool,
    fail_on_drift: bool,
) -> int:
    """Make one comparison, print it, and return the exit code: 0, 1 where it could not be made, 3 for RETRAIN."""
    policy = Policy(threshold=settings.drift_threshold, min_labels=settings.drift_min_labels).at_once()
    reports = single_reports(settings.reports, reference, current)
    try:
        inputs = _inputs(settings, reference, current, window)
    except (UnknownMonth, BundleError, DatabaseError) as error:
        result = unknown_result(str(error), policy)
    else:
        with plain_errors(ReportError, OSError, code=FAILED):
            evaluation = evaluate(inputs, policy, min_subjects=settings.drift_min_rows, reports=reports)
            _write(evaluation)
        result = evaluation.result
    _print(result, as_json=as_json, quiet=quiet)
    if result.decision == "UNKNOWN":
        return FAILED
    return RETRAIN if fail_on_drift and result.recommendation == "RETRAIN" else 0


def run_worker(settings: DriftSettings) -> int:
    """Compare repeatedly, until SIGTERM or Ctrl-C."""
    from drift.__main__ import main

    return main(settings)


def _inputs(settings: DriftSettings, reference: str, current: str, window: str) -> ComparisonInputs:
    if (reference, current) == LIVE:
        length, now = _length(window), datetime.now(UTC)
        active = load_active_bundle(settings.bundle, open_engine(settings.database_url))
        labels, subjects = settings.drift_labels, settings.drift_max_rows
        return read_window(active, now - length, now, max_subjects=subjects, max_labels=labels)
    snapshots = open_snapshots(settings.database_url)
    return months(snapshots, _date(reference), _date(current), _bundle(settings.bundle))


def _bundle(folder: Path) -> Bundle | None:
    """The bundle, where there is one of the churn schema."""
    try:
        bundle = bundles.load(folder)
    except BundleMissing:
        return None
    return bundle if bundle.schema.fingerprint == CHURN_SCHEMA.fingerprint else None


def _write(evaluation: Evaluation) -> None:
    comparison, reports = evaluation.comparison, evaluation.result.reports
    if comparison and reports.html and reports.json:
        replace_file(Path(reports.html), comparison.write_html)
        replace_file(Path(reports.json), comparison.write_json)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        stop(f"{text!r} is no date: give YYYY-MM-DD twice, or --reference bundle --current live")


def _length(text: str) -> timedelta:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd])", text.strip())
    length_s = float(match[1]) * _UNITS_S[match[2]] if match else 0.0
    if not 0 < length_s <= _LONGEST_S:
        stop(f"--window {text!r} is no length of time: give a number and s, m, h or d, like 90s or 1h; at most a year")
    return timedelta(seconds=length_s)


def _print(result: RunResult, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(msgspec.json.encode(result).decode())
        return
    print(evidently_line(result))
    print(leeway_line(result))
    if not quiet and result.features:
        console().print(_features(result))
        for question, verdict in result.verdicts.items():
            print(f"{question}: {verdict.state}. {verdict.evidence}")


def _features(result: RunResult) -> Table:
    headings = (
        "feature",
        "method",
        "score",
        "effective threshold",
        "drifted",
        "constant",
        "missing",
        "out of reference",
    )
    table = Table(*headings, title=Text(result.reason), title_justify="left")
    for each in sorted(result.features, key=_furthest):
        table.add_row(
            each.feature,
            each.method,
            "n/a" if each.score is None else f"{each.score:.3f}",
            f"{each.threshold:.3f}",
            "[bold red]yes[/]" if each.detected else "no",
            "yes" if each.constant else "no",
            f"{each.missing.reference:.1%} -> {each.missing.current:.1%}",
            f"{each.outside_reference:.1%}",
        )
    return table


def _furthest(feature: FeatureDrift) -> float:
    return -float("inf") if feature.score is None else -feature.ratio
