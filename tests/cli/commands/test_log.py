from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner, Result

from cli.main import app
from drift.report.folder import ReportFolder
from leeway.model.bundle import Bundle
from leeway.schema import CHURN_SCHEMA
from leeway.store import engine as engine_module
from leeway.store.delta import DeltaLog
from leeway.store.predictions import PredictionLabel, PredictionLog
from leeway.store.retention import prune
from leeway.store.tables import tables_for
from service.spool.drainer import PredictionWriter
from service.spool.reader import SpoolReader
from tests.drift.documents import a_run, run_id
from tests.leeway.store.delta import delta_rows
from tests.leeway.store.records import IDS, NOON, a_database, a_record, stored_ids
from tests.service.spool.spools import drain, open_spool


@pytest.mark.parametrize(("options", "verb"), [((), "deleted"), (("--dry-run",), "would delete")])
def test_prune_says_what_it_deleted(tmp_path: Path, options: tuple[str, ...], verb: str) -> None:
    """One line with each count."""
    engine, _, _ = a_database(tmp_path)
    url = str(engine.url)
    engine.dispose()
    done = CliRunner().invoke(app, ["log", "prune", "--keep", "90d", "--database-url", url, *options])
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{verb} 0 predictions, 0 labels, 0 rejection counts, 0 drift runs from before ")


@pytest.mark.parametrize("length", ["90", "0d", "-1d", "9999999d", "soon"])
def test_an_invalid_length_is_an_error(length: str) -> None:
    """Exit code 2 and what is allowed."""
    done = CliRunner().invoke(app, ["log", "prune", f"--keep={length}"])
    assert (done.exit_code, done.stderr.startswith(f"leeway: --keep {length!r} is not a valid length")) == (2, True)


@pytest.mark.parametrize("command", [("prune", "--keep", "1d"), ("forget", "--user", "ann")])
def test_an_unreachable_database_is_an_error(command: tuple[str, ...]) -> None:
    """Exit code 2 and one line."""
    url = "postgresql+psycopg://leeway@127.0.0.1:1/leeway"
    done = CliRunner().invoke(app, ["log", *command, "--database-url", url])
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("command", [("prune", "--keep", "1d"), ("forget", "--user", "ann")])
def test_a_missing_file_is_an_error(tmp_path: Path, command: tuple[str, ...]) -> None:
    """In another folder than the service's, nothing would be deleted; nor is a file created there."""
    file = tmp_path / "leeway.db"
    done = CliRunner().invoke(app, ["log", *command, "--database-url", f"sqlite:///{file}"])
    assert (done.exit_code, done.stderr.startswith(f"leeway: no database at {file}")) == (2, True)
    assert not file.exists()


def test_a_terminal_that_lacks_a_character_gets_a_question_mark(customer: Customer) -> None:
    """What was deleted is reported in any encoding, not in a traceback."""
    done = CliRunner(charset="ascii", env={}).invoke(app, ["log", "forget", "--user", "Zoë", *customer.flags])
    assert (done.exit_code, "Zo?" in done.stdout) == (0, True)


@pytest.mark.parametrize("user", ["", "a\udcff", "a\nb"])
def test_an_impossible_id_is_an_error(customer: Customer, user: str) -> None:
    """Exit code 2 and one line, also for bytes that are not UTF-8."""
    done = CliRunner().invoke(app, ["log", "forget", "--user", user, *customer.flags])
    assert (done.exit_code, done.stderr.count("\n"), done.exception.__class__) == (2, 1, SystemExit)


class Customer(NamedTuple):
    """The flags of `leeway log forget`, and the database."""

    flags: list[str]
    engine: sa.Engine
    spool: Path

    def forget(self, *options: str) -> Result:
        """Call it."""
        return CliRunner().invoke(app, ["log", "forget", "--user", "ann", *self.flags, *options])


@pytest.fixture
def customer(tmp_path: Path) -> Iterator[Customer]:
    """Ann has a stored and a waiting prediction, and a run whose window includes the stored one. Bob has one each."""
    engine, _, log = a_database(tmp_path)
    log.write_batch([a_record(0, user_id="ann"), a_record(1, user_id="bob")])
    spool, reports = tmp_path / "spool", tmp_path / "reports"
    with open_spool(spool) as opened:
        opened.append([a_record(2, user_id="ann"), a_record(3, user_id="bob")])
    ReportFolder(reports).write(a_run(1), lambda path: path.write_text("<html>"))
    flags = ["--database-url", str(engine.url), "--spool", str(spool), "--reports", str(reports)]
    yield Customer(flags, engine, spool)
    engine.dispose()


EACH = (
    "1 predictions, 0 labels, 0 snapshots, 1 records in the spool, 0 dead letters, 1 report files of customer 'ann'\n"
)


def test_forget_deletes_a_customer_everywhere(customer: Customer) -> None:
    """Database, spool and reports; the drainer then stores nothing of the customer."""
    assert customer.forget("--dry-run").stdout == f"would delete {EACH}"
    assert customer.forget().stdout == f"deleted {EACH}"
    with open_spool(customer.spool) as spool:
        spool.append([a_record(4, user_id="ann")])  # a copy of the spool, say
        drain(spool, PredictionWriter(customer.engine).write)
    assert stored_ids(customer.engine) == [IDS[1], IDS[3]]
    again = customer.forget()
    assert again.stdout.startswith("deleted 0 predictions, 0 labels, 0 snapshots, 1 records in the spool")
    assert again.exit_code == 0


def test_forget_deletes_reports_of_pruned_windows(customer: Customer, tmp_path: Path) -> None:
    """It is unknown whether they show the customer, and the command says so, with the number; so does a dry run."""
    assert prune(customer.engine, NOON + timedelta(days=1))["predictions"] == 2
    report = tmp_path / "reports" / "runs" / run_id(1) / "report.html"
    expected = (
        "0 predictions, 0 labels, 0 snapshots, 1 records in the spool, 0 dead letters, 1 report files of customer"
        " 'ann'\nfor 1 of the report files it is unknown whether they show the customer: predictions from before"
        " 2026-03-02 12:00 UTC were pruned\n"
    )
    assert (customer.forget("--dry-run").stdout, report.exists()) == (f"would delete {expected}", True)
    assert (customer.forget().stdout, report.exists()) == (f"deleted {expected}", False)
    assert "unknown" not in customer.forget().stdout


def test_forget_says_that_a_record_still_waits(customer: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1: the drainer has it in its hands, but does not get on."""
    monkeypatch.setattr("cli.commands.log._DRAIN_TIMEOUT_S", 0.0)
    drainer = SpoolReader(customer.spool)
    assert drainer.lease()
    done = customer.forget()
    drainer.release()
    assert (done.exit_code, done.stderr.startswith("leeway: 1 records still wait in the spool")) == (1, True)


def test_forget_says_that_rows_are_left_in_the_write_ahead_log(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process reads, the log cannot be emptied; the next call can."""
    monkeypatch.setattr(engine_module, "BUSY_TIMEOUT_S", 0)
    with customer.engine.connect() as reading:
        reading.exec_driver_sql("BEGIN")
        assert reading.exec_driver_sql("SELECT count(*) FROM predictions").scalar_one()
        done = customer.forget()
        assert (done.exit_code, "write-ahead log" in done.stderr) == (1, True)
    assert customer.forget().exit_code == 0


@pytest.fixture
def lake(customer: Customer, tmp_path: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lake with Delta tables for the session's bundle; the environment says so."""
    pytest.importorskip("deltalake")
    monkeypatch.setenv("LEEWAY_LOG", f"delta:{tmp_path / 'lake'}")
    flags = ["--database-url", str(customer.engine.url), "--bundle", str(bundle.folder)]
    for said in ("Created", "There already are"):
        done = CliRunner().invoke(app, ["log", "create", *flags])
        assert (done.exit_code, done.stdout.startswith(said)) == (0, True), done.output
    return tmp_path / "lake"


def test_delta_tables_are_compacted_and_pruned(customer: Customer, lake: Path) -> None:
    """Each command says what it did; what is left is what was not old."""
    log = DeltaLog(str(lake), customer.engine, tables_for(CHURN_SCHEMA))
    now = datetime.now(UTC)
    for number, made_at in enumerate((now - timedelta(days=9), now, now)):
        log.write_batch([a_record(number, predicted_at=made_at)], "segment", [number + 1])
    url = ["--database-url", str(customer.engine.url)]
    compacted = CliRunner().invoke(app, ["log", "compact", *url])
    assert compacted.stdout == "replaced 2 files by 1, deleted 0 that were not needed\n"
    pruned = CliRunner().invoke(app, ["log", "prune", "--keep", "3d", *url])
    assert pruned.stdout.startswith("deleted 3 predictions, 0 labels")  # two of them from the database
    assert [row["prediction_id"] for row in delta_rows(str(lake))] == IDS[1:3]


def test_forget_deletes_a_customer_from_delta_tables_as_well(customer: Customer, lake: Path) -> None:
    """Ann's prediction in the lake goes with those in the database, and so does its label, which waits there."""
    log = DeltaLog(str(lake), customer.engine, tables_for(CHURN_SCHEMA))
    log.write_batch([a_record(5, user_id="ann"), a_record(6, user_id="bob")], "segment", [1, 2])
    in_database = PredictionLog(customer.engine, tables_for(CHURN_SCHEMA))
    in_database.write_labels([PredictionLabel(each, 1) for each in IDS[5:7]], NOON)
    assert customer.forget("--dry-run").stdout.startswith("would delete 2 predictions, 1 labels")
    assert customer.forget().stdout.startswith("deleted 2 predictions, 1 labels")
    assert log.move_labels() == 1  # Bob's
    assert [row["user_id"] for row in delta_rows(str(lake))] == ["bob"]


@pytest.mark.parametrize("command", ["create", "compact"])
def test_a_database_has_no_delta_tables(customer: Customer, command: str) -> None:
    """Exit code 2 and what to set."""
    done = CliRunner().invoke(app, ["log", command, "--database-url", str(customer.engine.url)])
    assert (done.exit_code, "set it to delta:FOLDER" in done.stderr) == (2, True)
