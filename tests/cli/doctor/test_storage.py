from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cli.doctor.asking import Deadline
from cli.doctor.service import Sent, Served
from cli.doctor.storage import Store, duration, last_run, open_store, row
from leeway.schema import CHURN_SCHEMA
from leeway.settings import DoctorSettings
from leeway.store.drift_runs import DriftLog, DriftRun
from leeway.store.predictions import PredictionLog
from leeway.store.tables import tables_for
from tests.leeway.store.records import a_database, a_record

SERVED = Served("churn", "v1", CHURN_SCHEMA, {}, knows_checks=True)
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
def store(tmp_path: Path, log: PredictionLog) -> Iterator[Store]:
    """The same, as the doctor opens it."""
    log.ping()
    _, opened = open_store(settings_for(tmp_path))
    assert opened is not None
    yield opened
    opened.engine.dispose()


def save_run(store: Store, age_s: float) -> None:
    """Put a run into the database that finished so long ago."""
    at = datetime.now(UTC) - timedelta(seconds=age_s)
    words = {"decision": "NO_ACTION", "recommendation": "NO_ACTION", "reason": "all is calm"}
    run = DriftRun(f"run {age_s}", at, "churn", "v1", at, at, 1, 1, 0.0, **words, result={}, state={}, trace_id=None)
    DriftLog(store.engine, store.tables(SERVED)).save(run)


# --- the database itself ------------------------------------------------------------------------------------------


def test_a_database_that_answers_says_what_it_is(tmp_path: Path, log: PredictionLog) -> None:
    """SQLite has no clock of its own."""
    log.ping()
    finding, store = open_store(settings_for(tmp_path))
    assert store is not None
    store.engine.dispose()
    assert (finding.state, finding.clock_ahead_s) == ("ok", None)
    assert finding.found.startswith("SQLite answers")
    assert str(finding.version).startswith("3.")


def test_no_file_is_made_where_there_is_none(tmp_path: Path) -> None:
    """Run in another folder, the doctor says so, and leaves the folder as it was."""
    settings = DoctorSettings.read(database_url=f"sqlite:///{tmp_path / 'var' / 'leeway.db'}")
    finding, store = open_store(settings)
    assert (finding.state, store) == ("failed", None)
    assert "LEEWAY_DATABASE_URL" in str(finding.next_step)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    """In the driver's words."""
    (tmp_path / "leeway.db").write_text("dear diary" * 100)
    finding, store = open_store(settings_for(tmp_path))
    assert (finding.state, finding.found, store) == ("failed", "file is not a database", None)


def test_a_server_that_is_away_is_said() -> None:
    """With how to start it, and without its password."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and not listened on
        url = f"postgresql+psycopg://u:hush@127.0.0.1:{taken.getsockname()[1]}/d"
        finding, store = open_store(DoctorSettings.read(database_url=url))
    assert (finding.state, store) == ("failed", None)
    assert "hush" not in finding.found
    assert "docker compose up --detach postgres" in str(finding.next_step)


def test_an_address_that_is_none_is_said() -> None:
    """With what would do."""
    finding, store = open_store(DoctorSettings.read(database_url="nonsense"))
    assert (finding.state, store) == ("failed", None)
    assert "use sqlite:///FILE or postgresql" in finding.found


# --- the prediction's row -----------------------------------------------------------------------------------------


def test_a_row_with_its_mark_is_well(store: Store, log: PredictionLog) -> None:
    """It came, and drift windows leave it out."""
    log.write_batch([a_record(is_synthetic=True)])
    finding = row(store, SERVED, Sent(a_record().prediction_id, None), Deadline(5))
    assert (finding.state, "in the database" in finding.found) == ("ok", True)


def test_a_row_that_never_comes_is_a_failure(store: Store) -> None:
    """The database may be another than the service's; the service's log knows."""
    finding = row(store, SERVED, Sent("nobody", None), Deadline(0.1))
    assert (finding.state, finding.found) == ("failed", "not in the database after 0.1 s")
    assert "LEEWAY_DATABASE_URL" in str(finding.next_step)


def test_a_row_without_its_mark_is_a_failure(store: Store, log: PredictionLog) -> None:
    """Then a drift window counts what nobody wanted to know."""
    log.write_batch([a_record()])
    finding = row(store, SERVED, Sent(a_record().prediction_id, None), Deadline(5))
    assert (finding.state, "without its mark" in finding.found) == ("failed", True)


def test_an_older_table_is_said(store: Store) -> None:
    """The service of this version adds the column when it starts."""
    with store.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE predictions DROP COLUMN is_synthetic")
    finding = row(store, SERVED, Sent("p", None), Deadline(0.1))
    assert (finding.state, "is_synthetic" in finding.found) == ("failed", True)
    assert "start the service of this version" in str(finding.next_step)


# --- the drift worker's last run ----------------------------------------------------------------------------------


def test_a_recent_run_is_well(store: Store) -> None:
    """The newest counts; it says what came of it."""
    save_run(store, 1_000)
    save_run(store, 65)
    finding = last_run(store, SERVED, INTERVAL_S, worker_is_here=True)
    assert (finding.state, finding.found) == ("ok", "65 s ago, every 60 s: NO_ACTION, all is calm")


def test_an_old_run_is_a_failure(store: Store) -> None:
    """After three intervals, as for the worker's own gauges."""
    save_run(store, 181)
    finding = last_run(store, SERVED, INTERVAL_S, worker_is_here=True)
    assert (finding.state, finding.found.startswith("3 min ago")) == ("failed", True)
    assert "leeway drift worker" in str(finding.next_step)


def test_a_worker_that_has_just_begun_is_given_time(store: Store) -> None:
    """It answers, and its first run is still to come."""
    finding = last_run(store, SERVED, INTERVAL_S, worker_is_here=True)
    assert (finding.state, "no run of this model yet" in finding.found) == ("warning", True)


def test_a_service_may_go_without_a_worker(store: Store) -> None:
    """Where none answers and none ever ran."""
    assert last_run(store, SERVED, INTERVAL_S, worker_is_here=False).state == "skipped"


def test_a_database_without_runs_table_is_said(store: Store) -> None:
    """Another program's database, or one that was emptied."""
    tables_for(CHURN_SCHEMA).metadata.drop_all(store.engine)
    finding = last_run(store, SERVED, INTERVAL_S, worker_is_here=True)
    assert (finding.state, "drift_runs" in finding.found) == ("failed", True)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (119, "119 s"), (180, "3 min"), (7_200, "2 h"), (200_000, "2 days")]
)
def test_a_length_of_time_reads_well(seconds: float, said: str) -> None:
    """In the unit that one would say."""
    assert duration(seconds) == said
