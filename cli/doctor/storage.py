"""Checks the database: does it answer, did the prediction arrive, when did the drift worker last run."""

from __future__ import annotations

from datetime import UTC, datetime

from cli.doctor.check import CheckResult, Deadline
from cli.doctor.service import LOG, ServiceInfo, SyntheticPrediction
from leeway.settings import DoctorSettings
from leeway.store.drift_runs import DriftLog
from leeway.store.engine import DatabaseError, Engine, open_engine, server_facts, sqlite_file
from leeway.store.predictions import PredictionLog
from leeway.store.tables import tables_for

LATE_AFTER_INTERVALS = 3
"""As for the worker's own gauges: after that they stop, and alerts fire."""
_MEBIBYTE = 2**20
_UPGRADE = (
    "start this version of the service once: it creates missing tables. It adds no columns: recreate a database of an"
    " earlier development version"
)
_OWN = "set LEEWAY_DATABASE_URL to the service's own database, then " + LOG
_WORKER = "start `leeway drift worker`, or read its log (in compose: docker compose logs drift)"


def open_store(settings: DoctorSettings) -> tuple[CheckResult, Engine | None]:
    """Whether the database answers, and which it is; a missing SQLite file is not created."""
    file = sqlite_file(settings.database_url)
    if file is not None and not file.is_file():
        next_step = "run this where the service runs, or set LEEWAY_DATABASE_URL to its database"
        return CheckResult("database", "failed", f"the file {file} does not exist here", next_step), None
    began_at = datetime.now(UTC)
    try:
        engine = open_engine(settings.database_url)
        facts = server_facts(engine)
    except DatabaseError as error:
        next_step = "start it (in compose: docker compose up --detach postgres), or correct LEEWAY_DATABASE_URL"
        return CheckResult("database", "failed", str(error), next_step), None
    middle = began_at + (datetime.now(UTC) - began_at) / 2
    ahead_s = None if facts.now is None else round((facts.now - middle).total_seconds(), 3)
    found = f"{facts.product} answers, {facts.size_bytes / _MEBIBYTE:,.0f} MiB"
    return CheckResult("database", "ok", found, version=facts.version, clock_ahead_s=ahead_s), engine


def row(
    engine: Engine, info: ServiceInfo, prediction: SyntheticPrediction, deadline: Deadline, *, delta: str | None = None
) -> CheckResult:
    """Whether the prediction's row arrives, marked as synthetic. Delta tables are not searched."""
    if delta is not None:
        return CheckResult("row", "skipped", f"LEEWAY_LOG is set: predictions go to the Delta tables in {delta}")
    log = PredictionLog(engine, tables_for(info.schema))
    try:
        mark = deadline.wait_for(lambda: log.is_synthetic(prediction.prediction_id))
    except DatabaseError as error:
        return CheckResult("row", "failed", f"the query failed: {error}", _UPGRADE)
    if mark is None:
        return CheckResult("row", "failed", f"not in the database after {deadline.wait_s:g} s", _OWN)
    if not mark:
        found = "in the database, but not marked as synthetic, so drift windows count it"
        return CheckResult("row", "failed", found, "update every service that shares this database")
    return CheckResult("row", "ok", f"in the database within {deadline.waited_s:.1f} s")


def last_run(engine: Engine, info: ServiceInfo, interval_s: float, *, worker_answers: bool) -> CheckResult:
    """How long ago the drift worker finished a run for this model."""
    check = "drift run"
    try:
        run = DriftLog(engine, tables_for(info.schema)).last(info.name)
    except DatabaseError as error:
        return CheckResult(check, "failed", f"the query failed: {error}", _UPGRADE)
    if run is None and worker_answers:
        found = "the worker answers, but has finished no run for this model yet"
        return CheckResult(check, "warning", found, f"wait for one ({interval_s:g} s), else read the worker's log")
    if run is None:
        return CheckResult(check, "skipped", f"there has been no run for this model: {_WORKER}")
    age_s = (datetime.now(UTC) - run.finished_at).total_seconds()
    found = f"{duration(age_s)} ago, every {duration(interval_s)}: {run.recommendation}, {run.reason}"
    if age_s > LATE_AFTER_INTERVALS * interval_s:
        return CheckResult(check, "failed", found, _WORKER)
    return CheckResult(check, "ok", found)


def duration(seconds: float) -> str:
    """A length of time for people: 12 s, 4 min, 3 h, 2 days."""
    for limit_s, unit_s, name in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit_s:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds / 86_400:.0f} days"
