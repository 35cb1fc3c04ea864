"""`leeway drift run`, `worker` and `power`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from cli.commands.ingest import open_snapshots
from cli.options import FAILED, console, plain_errors, stop
from drift.comparison.evidently import Comparison
from drift.inputs import load_active_bundle
from drift.one_shot import ComparisonInputs, decide, live, months, unknown_result
from drift.report.folder import ReportError, write_single
from drift.result import Document, evidently_line, leeway_line
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
    policy = _policy(settings)
    try:
        sides = _sides(settings, reference, current, window)
    except (UnknownMonth, BundleError, DatabaseError) as error:
        document = unknown_result(str(error), policy)
    else:
        with plain_errors(ReportError, OSError, code=FAILED):
            document = decide(
                sides,
                policy,
                lambda comparison: _write(settings.reports, reference, current, comparison),
                min_subjects=settings.drift_min_rows,
            )
    _print(document, as_json=as_json, quiet=quiet)
    if document["decision"] == "UNKNOWN":
        return FAILED
    return RETRAIN if fail_on_drift and document["recommendation"] == "RETRAIN" else 0


def run_worker(settings: DriftSettings) -> int:
    """Compare again and again, until SIGTERM or Ctrl-C."""
    from drift.__main__ import main

    return main(settings)


def run_power(out: Path) -> None:
    """Measure what drift detection can see, and write the table."""
    from benchmarks.drift_power import main

    main([str(out)])
    print(f"Wrote {out}")


def _sides(settings: DriftSettings, reference: str, current: str, window: str) -> ComparisonInputs:
    if (reference, current) == LIVE:
        in_force = load_active_bundle(settings.bundle, open_engine(settings.database_url))
        labels, subjects = settings.drift_labels, settings.drift_max_rows
        return live(in_force, datetime.now(UTC), _seconds(window), max_subjects=subjects, max_labels=labels)
    snapshots = open_snapshots(settings.database_url)
    return months(snapshots, _date(reference), _date(current), _bundle(settings.bundle))


def _bundle(folder: Path) -> Bundle | None:
    """The bundle, where there is one of the churn schema."""
    try:
        bundle = bundles.load(folder)
    except BundleMissing:
        return None
    return bundle if bundle.schema.fingerprint == CHURN_SCHEMA.fingerprint else None


def _write(folder: Path, reference: str, current: str, comparison: Comparison) -> Mapping[str, str]:
    return write_single(folder, reference, current, comparison.write_html, comparison.write_json)


def _policy(settings: DriftSettings) -> Policy:
    return Policy(threshold=settings.drift_threshold, min_labels=settings.drift_min_labels)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        stop(f"{text!r} is no date: give YYYY-MM-DD twice, or --reference bundle --current live")


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd])", text.strip())
    length_s = float(match[1]) * _UNITS_S[match[2]] if match else 0.0
    if not 0 < length_s <= _LONGEST_S:
        stop(f"--window {text!r} is no length of time: give a number and s, m, h or d, like 90s or 1h; at most a year")
    return length_s


def _print(document: Document, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        print(json.dumps(document, ensure_ascii=False, allow_nan=False))
        return
    print(evidently_line(document))
    print(leeway_line(document))
    if not quiet and document["features"]:
        console().print(_features(document))
        for question, verdict in document["verdicts"].items():
            print(f"{question}: {verdict['state']}. {verdict['evidence']}")


def _features(document: Document) -> Table:
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
    table = Table(*headings, title=Text(document["reason"]), title_justify="left")
    for each in sorted(document["features"], key=_furthest):
        missing = each["missing"]
        table.add_row(
            each["feature"],
            each["method"],
            "n/a" if each["score"] is None else f"{each['score']:.3f}",
            f"{each['threshold']:.3f}",
            "[bold red]yes[/]" if each["detected"] else "no",
            "yes" if each["constant"] else "no",
            f"{missing['reference']:.1%} -> {missing['current']:.1%}",
            f"{each['outside_reference']:.1%}",
        )
    return table


def _furthest(feature: Mapping[str, Any]) -> float:
    return -float("inf") if feature["score"] is None else -feature["score"] / feature["threshold"]
