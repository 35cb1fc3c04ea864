"""The drainer: how fast it stores a full spool, and what waits after a minute of saturation."""

from __future__ import annotations

import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import uuid_utils

from benchmarks.bundle import AS_OF, load_population
from benchmarks.postgresql import NoPostgreSQL, a_postgresql
from benchmarks.serving.figures import Report
from benchmarks.serving.processes import on_all_cores, processor_s
from benchmarks.serving.run import A, Run, wait_until
from benchmarks.serving.wrk import saturate
from leeway.data.population import population
from leeway.schema import CHURN_SCHEMA
from leeway.shutdown import stop_children
from leeway.store.record import PredictionRecord
from service.spool.reader import SpoolReader
from service.spool.spool import Spool
from service.spool.status import read_status

ROWS = 200_000
APPENDED = 32
TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 20.0


def draining(run: Run, report: Report) -> None:
    """Both measurements on SQLite and, where it is installed, on PostgreSQL."""
    _draining_on("SQLite", run, report, f"sqlite:///{run.folder / 'drained.db'}", run.sqlite_url)
    try:
        with a_postgresql(durable=True) as url:
            load_population(url)
            _draining_on("PostgreSQL", run, report, url, url)
    except NoPostgreSQL as error:
        report.add(f"drainer on PostgreSQL: not measured, {error}")


def _draining_on(database: str, run: Run, report: Report, url: str, service_url: str) -> None:
    rate, processor_us = drain_alone(run.folder / f"{database}-spool", url)
    report.add(f"The drainer alone: {rate:,.0f} rows/s into {database}, {processor_us:.1f} µs of its process a row.")
    report.check(f"drainer alone into {database}, rows/s ÷ c's requests/s at 32", rate / run.bare_rate(), at_least=4)
    _backlog(database, run, report, service_url)


def _backlog(database: str, run: Run, report: Report, url: str) -> None:
    """Saturate (a) for a minute; what waits in the spool then is a part of what arrived in it."""
    with run.start(A, url) as service:
        before = _written(run.spool(A))
        load = saturate(service.port, run.features, 32, run.minute_s)
        waiting = load.requests - (_written(run.spool(A)) - before)
    waiting_s = waiting / load.rate
    report.add(
        f"After {run.minute_s:.0f} s at {load.rate:,.0f} requests/s, {waiting:,} records wait for {database};"
        f" {load.failed} requests failed."
    )
    report.check(f"backlog on {database} after saturation, in s of arrivals", waiting_s, at_most=2)


def _written(spool: Path) -> int:
    """How many predictions the drainer has stored."""
    status = read_status(spool)
    return 0 if status is None else status.written


def drain_alone(spool: Path, database_url: str, rows: int = ROWS) -> tuple[float, float]:
    """Fill a spool, then drain it: rows per second, and microseconds of the drainer's processor time per row."""
    _fill(spool, rows)
    with _drainer(spool, database_url) as process:
        wait_until(lambda: _written(spool) > 0, TIMEOUT_S, "the start of the drainer")
        first, started, processor_before = _written(spool), time.perf_counter(), processor_s(process.pid)
        wait_until(SpoolReader(spool).is_empty, TIMEOUT_S, "draining")
        drained, elapsed_s = _written(spool) - first, time.perf_counter() - started
        spent_s = processor_s(process.pid) - processor_before
    return drained / elapsed_s, spent_s / drained * 1e6


@contextmanager
def _drainer(spool: Path, database_url: str) -> Iterator[subprocess.Popen[bytes]]:
    """The service's drainer, on any core."""
    with on_all_cores():
        process = subprocess.Popen([sys.executable, "-m", "service.spool"], stdin=subprocess.PIPE, bufsize=0)
    order = {"spool": str(spool), "database_url": database_url}
    with process:
        assert process.stdin is not None  # noqa: S101 (it is a pipe)
        try:
            process.stdin.write(msgspec.json.encode(order) + b"\n")
            yield process
            process.stdin.close()
            process.wait(STOP_TIMEOUT_S)
        finally:
            stop_children([process], 0)


def _fill(spool: Path, rows: int) -> None:
    """Append records as the service does under load: of customers and, each second one, of features only."""
    people, written_at = population(), datetime.now(UTC)
    features = [CHURN_SCHEMA.row(people.row(place)) for place in range(len(people))]
    with Spool(spool, CHURN_SCHEMA, limit_bytes=2**31, fsync_always=False) as appended:
        for start in range(0, rows, APPENDED):
            records = []
            for number in range(start, min(start + APPENDED, rows)):
                place = number % len(people)
                user_id, as_of = (people.user_ids[place], AS_OF) if number % 2 else (None, None)
                trace_id, span_id = secrets.token_hex(16), secrets.token_hex(8)
                answer = (0.5, 1, 0, 0.001, 0.0001, trace_id, span_id)
                records.append(
                    PredictionRecord(
                        str(uuid_utils.uuid7()), written_at, "model-1", user_id, as_of, features[place], *answer
                    )
                )
            appended.append(records)
