"""Looks into the database: does it answer, did the prediction arrive, when did the drift worker last run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cli.doctor.asking import Deadline
from cli.doctor.finding import Finding
from cli.doctor.service import LOG, Sent, Served
from leeway.settings import DoctorSettings
from leeway.store.drift_runs import DriftLog
from leeway.store.engine import DatabaseError, Engine, open_engine, server_facts, sqlite_file
from leeway.store.predictions import PredictionLog
from leeway.store.tables import Tables, tables_for

LATE_AFTER_INTERVALS = 3
"""As for the worker's own gauges: then they stop, and alerts begin."""
_MIBIBYTE = 2**20
_UPGRADE = "start the service of this version once: it makes what is missing"
_OWN = "name the service's own database with LEEWAY_DATABASE_URL, then " + LOG
_WORKER = "start `leeway drift worker`, or read its log (in compose: docker compose logs drift)"


@dataclass(frozen=True)
class Store:
    """A database that answers."""

    engine: Engine

    def tables(self, served: Served) -> Tables:
        """The tables of the model that is served."""
        return tables_for(served.schema)


def open_store(settings: DoctorSettings) -> tuple[Finding, Store | None]:
    """Whether the database is there, and which; nothing is made where nothing is."""
    file = sqlite_file(settings.database_url)
    if file is not None and not file.is_file():
        next_step = "run this where the service runs, or name its database with LEEWAY_DATABASE_URL"
        return Finding("database", "failed", f"there is no file {file} here", next_step), None
    began_at = datetime.now(UTC)
    try:
        engine = open_engine(settings.database_url)
        facts = server_facts(engine)
    except DatabaseError as error:
        next_step = "start it (in compose: docker compose up --detach postgres), or set LEEWAY_DATABASE_URL"
        return Finding("database", "failed", str(error), next_step), None
    middle = began_at + (datetime.now(UTC) - began_at) / 2
    ahead_s = None if facts.now is None else (facts.now - middle).total_seconds()
    found = f"{facts.product} answers, {facts.size_bytes / _MIBIBYTE:,.0f} MiB"
    return Finding("database", "ok", found, version=facts.version, clock_ahead_s=ahead_s), Store(engine)


def row(store: Store, served: Served, sent: Sent, patience: Deadline) -> Finding:
    """Whether the prediction's row comes, with its mark."""
    log = PredictionLog(store.engine, store.tables(served))
    try:
        mark = patience.wait_for(lambda: log.is_synthetic(sent.prediction_id))
    except DatabaseError as error:
        return Finding("row", "failed", f"the database cannot be asked for it: {error}", _UPGRADE)
    if mark is None:
        return Finding("row", "failed", f"not in the database after {patience.wait_s:g} s", _OWN)
    if not mark:
        found = "in the database without its mark, so that drift windows count it"
        return Finding("row", "failed", found, "update every service that shares this database")
    return Finding("row", "ok", f"in the database within {patience.waited_s:.1f} s")


def last_run(store: Store, served: Served, interval_s: float, *, worker_is_here: bool) -> Finding:
    """How long ago the drift worker finished a run of this model."""
    try:
        run = DriftLog(store.engine, store.tables(served)).last(served.name)
    except DatabaseError as error:
        return Finding("drift run", "failed", f"the database cannot be asked for it: {error}", _UPGRADE)
    if run is None and worker_is_here:
        found = "the worker answers, and has finished no run of this model yet"
        return Finding("drift run", "warning", found, f"wait for one ({interval_s:g} s); else read its log")
    if run is None:
        return Finding("drift run", "skipped", f"no run of this model was ever made: {_WORKER}")
    age_s = (datetime.now(UTC) - run.finished_at).total_seconds()
    found = f"{duration(age_s)} ago, every {duration(interval_s)}: {run.recommendation}, {run.reason}"
    if age_s > LATE_AFTER_INTERVALS * interval_s:
        return Finding("drift run", "failed", found, _WORKER)
    return Finding("drift run", "ok", found)


def duration(seconds: float) -> str:
    """A length of time for people: 12 s, 4 min, 3 h, 2 days."""
    for limit_s, unit_s, name in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < limit_s:
            return f"{seconds / unit_s:.0f} {name}"
    return f"{seconds / 86_400:.0f} days"
