"""`leeway drift run` in a place of its own, and the two lines that it prints first."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner, Result

from cli.main import app

RUNNER = CliRunner()
CUSTOMERS = 700
CALM, TURNED, WORSE = "2026-02-28", "2026-03-31", "2026-04-30"
EVIDENTLY_LINE = re.compile(
    r"\[Evidently\] report_html=(?P<html>\S+\.html) report_json=(?P<json>\S+\.json) drift_share=(?P<share>\d\.\d\d)"
    r" -> (?P<decision>NO_ACTION|RETRAIN) drift_share=(?P=share) (?P<sign><|>=) 0\.30 \(target_drift=\d\.\d{4}\)"
)
LEEWAY_LINE = re.compile(
    r"\[Leeway\] quality (?P<quality>\w+), covariate (?P<covariate>\w+), prediction (?P<prediction>\w+),"
    r" performance (?P<performance>\w+)(?: \(ROC AUC \d\.\d\d -> \d\.\d\d, \d\.\d\d\.\.\.\d\.\d\d on [\d,]+ labels\))?"
    r" -> (?P<recommendation>NO_ACTION|INVESTIGATE|RETRAIN|UNKNOWN)"
)


@dataclass(frozen=True)
class Place:
    """A database with four months and half an hour of predictions, a bundle, and a folder for reports."""

    database_url: str
    bundle: Path
    reports: Path

    def run(self, reference: str, current: str, *more: str, bundle: Path | None = None) -> Result:
        """`leeway drift run` here."""
        where = ("--database-url", self.database_url, "--bundle", str(bundle or self.bundle))
        command = ["drift", "run", "--reference", reference, "--current", current, *where]
        return RUNNER.invoke(app, [*command, "--report-dir", str(self.reports), *more])
