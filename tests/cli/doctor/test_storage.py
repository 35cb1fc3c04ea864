from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.doctor.check import Deadline
from cli.doctor.service import ServiceInfo, SyntheticPrediction
from cli.doctor.storage import duration, last_run, open_store, row
from leeway.schema import CHURN_SCHEMA
from leeway.settings import DoctorSettings
from leeway.store.drift_runs import DriftLog, DriftRun
from leeway.store.engine import Engine
from leeway.store.predictions import PredictionLog
from leeway.store.tables import tables_for
from tests.leeway.store.records import a_database, a_record

INFO = ServiceInfo("churn", "v1", CHURN_SCHEMA, {}, accepts_synthetic=True)
INTERVAL_S = 60.0


def settings_for(folder: Path) -> DoctorSettings:
    """Settings that name the file in `folder`."""
    return DoctorSettings.read(database_url=f"sqlite:///{folder / 'leeway.db'}")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PredictionLog]:
    """A database with our tables, and its log."""
    engine, _, log = a_database(tmp_path)
    yield log
    engine.dispose()


@pytest.fixture
def engine(tmp_path: Path, log: PredictionLog) -> Iterator[Engine]:
    """The same, as the doctor opens it."""
    log.ping()
    _, opened = open_store(settings_for(tmp_path))
    assert opened is not None
    yield opened
    opened.engine.dispose()


def save_run(engine: Engine, age_s: float) -> None:
    """Put a run into the database that finished so long ago."""
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    words = {"decision": "NO_ACTION", "recommendation": "NO_ACTION", "reason": "all is calm"}
    run = DriftRun(f"run {age_s}", at, "churn", "v1", at, at, 1, 1, 0.0, **words, result={}, state={}, trace_id=None)
    DriftLog(engine, tables_for(INFO.schema)).save(run)


# --- the database itself ------------------------------------------------------------------------------------------


def test_a_database_is_named_with_its_version(tmp_path: Path, log: PredictionLog) -> None:
    """The result names the database; SQLite has no clock of its own."""
    log.ping()
    result, engine = open_store(settings_for(tmp_path))
    assert engine is not None
    engine.dispose()
    assert (result.state, result.clock_ahead_s) == ("ok", None)
    assert result.found.startswith("SQLite answers")
    assert str(result.version).startswith("3.")


def test_a_missing_file_is_not_created(tmp_path: Path) -> None:
    """In another folder the check fails, and leaves the folder unchanged."""
    settings = DoctorSettings.read(database_url=f"sqlite:///{tmp_path / 'var' / 'leeway.db'}")
    result, engine = open_store(settings)
    assert (result.state, engine) == ("failed", None)
    assert "LEEWAY_DATABASE_URL" in str(result.next_step)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_a_database_fails(tmp_path: Path) -> None:
    """The result has the driver's message."""
    (tmp_path / "leeway.db").write_text("dear diary" * 100)
    result, engine = open_store(settings_for(tmp_path))
    assert (result.state, result.found, engine) == ("failed", "file is not a database", None)


def test_an_unreachable_server_fails() -> None:
    """The result says how to start it, without its password."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listened on
        url = f"postgresql+psycopg://u:hush@127.0.0.1:{taken.getsockname()[1]}/d"
        result, engine = open_store(DoctorSettings.read(database_url=url))
    assert (result.state, engine) == ("failed", None)
    assert "hush" not in result.found
    assert "docker compose up --detach postgres" in str(result.next_step)


def test_an_invalid_url_fails() -> None:
    """The result says what a valid one looks like."""
    result, engine = open_store(DoctorSettings.read(database_url="nonsense"))
    assert (result.state, engine) == ("failed", None)
    assert "use sqlite:///FILE or postgresql" in result.found


# --- the prediction's row -----------------------------------------------------------------------------------------


def test_a_marked_row_is_ok(engine: Engine, log: PredictionLog) -> None:
    """The row arrived, and drift windows ignore it."""
    log.write_batch([a_record(is_synthetic=True)])
    result = row(engine, INFO, SyntheticPrediction(a_record().prediction_id, None), Deadline(5))
    assert (result.state, "in the database" in result.found) == ("ok", True)


def test_a_missing_row_fails(engine: Engine) -> None:
    """The next step is to check which database the service uses."""
    result = row(engine, INFO, SyntheticPrediction("nobody", None), Deadline(0.1))
    assert (result.state, result.found) == ("failed", "not in the database after 0.1 s")
    assert "LEEWAY_DATABASE_URL" in str(result.next_step)


def test_an_unmarked_row_fails(engine: Engine, log: PredictionLog) -> None:
    """Drift windows would count it."""
    log.write_batch([a_record()])
    result = row(engine, INFO, SyntheticPrediction(a_record().prediction_id, None), Deadline(5))
    assert (result.state, "not marked as synthetic" in result.found) == ("failed", True)


def test_an_older_table_fails(engine: Engine) -> None:
    """The next step is to start this version of the service, or to recreate a database of an earlier version."""
    with engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE predictions DROP COLUMN is_synthetic")
    result = row(engine, INFO, SyntheticPrediction("p", None), Deadline(0.1))
    assert (result.state, "is_synthetic" in result.found) == ("failed", True)
    assert "recreate a database" in str(result.next_step)


# --- the drift worker's last run ----------------------------------------------------------------------------------


def test_a_recent_run_is_ok(engine: Engine) -> None:
    """The newest run counts; the result has its recommendation."""
    save_run(engine, 1_000)
    save_run(engine, 65)
    result = last_run(engine, INFO, INTERVAL_S, worker_answers=True)
    assert (result.state, result.found) == ("ok", "65 s ago, every 60 s: NO_ACTION, all is calm")


def test_an_old_run_fails(engine: Engine) -> None:
    """After three intervals, as for the worker's own gauges."""
    save_run(engine, 181)
    result = last_run(engine, INFO, INTERVAL_S, worker_answers=True)
    assert (result.state, result.found.startswith("3 min ago")) == ("failed", True)
    assert "leeway drift worker" in str(result.next_step)


def test_a_worker_without_runs_is_a_warning(engine: Engine) -> None:
    """It answers, but has not finished its first run."""
    result = last_run(engine, INFO, INTERVAL_S, worker_answers=True)
    assert (result.state, "no run for this model yet" in result.found) == ("warning", True)


def test_the_worker_is_optional(engine: Engine) -> None:
    """Without a worker and without runs, the check is skipped."""
    assert last_run(engine, INFO, INTERVAL_S, worker_answers=False).state == "skipped"


def test_a_missing_table_fails(engine: Engine) -> None:
    """The result names the missing table."""
    tables_for(CHURN_SCHEMA).metadata.drop_all(engine)
    result = last_run(engine, INFO, INTERVAL_S, worker_answers=True)
    assert (result.state, "drift_runs" in result.found) == ("failed", True)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (119, "119 s"), (180, "3 min"), (7_200, "2 h"), (200_000, "2 days")]
)
def test_durations_are_readable(seconds: float, said: str) -> None:
    """A duration is given in a suitable unit."""
    assert duration(seconds) == said
