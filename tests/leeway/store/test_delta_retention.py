from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from pyarrow import parquet

from leeway.schema import CHURN_SCHEMA
from leeway.store import delta_retention
from leeway.store.delta import DeltaLog, create_delta_tables, open_table
from leeway.store.delta_retention import compact, forget, prediction_times, prune
from leeway.store.predictions import PredictionLabel, PredictionLogError
from leeway.store.record import PredictionRecord
from tests.leeway.store.delta import delta_rows
from tests.leeway.store.records import IDS, NOON, a_database, a_record, some_records

if TYPE_CHECKING:
    from deltalake import DeltaTable

pytest.importorskip("deltalake")
DAY = timedelta(days=1)
SUFFIXES = ("", "_0123456789ab")
"""The second schema has no tables in the lake."""


class Lake:
    """A lake in a folder, and how to fill it."""

    def __init__(self, folder: Path) -> None:
        self.location = str(folder / "lake")
        self.engine, tables, self.database = a_database(folder)
        create_delta_tables(self.location, self.engine, CHURN_SCHEMA)
        self._log = DeltaLog(self.location, self.engine, tables)
        self._end = 0

    def store(self, *records: PredictionRecord) -> None:
        """Append records in one commit."""
        self._end += len(records)
        self._log.write_batch(records, "segment", range(self._end - len(records) + 1, self._end + 1))

    def label(self, *ids: str, day: int = 0) -> None:
        """Append labels that arrived some days later."""
        self.database.write_labels([PredictionLabel(each, 1) for each in ids], NOON + day * DAY)
        self._log.move_labels()

    def ids(self, table: str = "predictions") -> list[str]:
        """The ids in a table, in order."""
        return [row["prediction_id"] for row in delta_rows(self.location, table)]

    def files(self, table: str = "predictions") -> list[Path]:
        """A table's Parquet files on the disk, those of earlier versions too."""
        return sorted(Path(self.location, table).rglob("*.parquet"))


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """An empty lake."""
    lake = Lake(tmp_path)
    yield lake
    lake.engine.dispose()


def test_compaction_merges_files_and_keeps_rows_and_positions(lake: Lake) -> None:
    """A repeated batch is still recognized; readers of the old files can go on for a week."""
    for record in some_records(4):
        lake.store(record)
    files = compact(lake.location, SUFFIXES)
    assert (files["replaced"], files["new"], files["deleted"]) == (4, 1, 0)
    lake._end = 0
    lake.store(*some_records(4))
    assert lake.ids() == IDS[:4]


@pytest.mark.parametrize("dry_run", [True, False])
def test_pruning_deletes_whole_days(lake: Lake, *, dry_run: bool) -> None:
    """Those before the day of the time given; a dry run counts them."""
    lake.store(*(a_record(number, predicted_at=NOON + number * DAY) for number in range(4)))
    lake.label(IDS[0], IDS[3], day=1)
    lake.label(IDS[1], day=2)
    deleted = prune(lake.location, SUFFIXES, NOON + 2 * DAY, is_dry_run=dry_run)
    assert deleted == {"predictions": 2, "labels": 2}
    assert lake.ids() == (IDS[:4] if dry_run else IDS[2:4])
    assert lake.ids("prediction_labels") == ([IDS[0], IDS[1], IDS[3]] if dry_run else [IDS[1]])


def test_pruning_needs_no_memory_for_each_row(lake: Lake) -> None:
    """The tables' engine counts the old rows; none of them becomes an object of ours."""
    lake.store(*some_records(5_000))
    prune(lake.location, SUFFIXES, NOON)  # imports what is needed
    tracemalloc.start()
    deleted = prune(lake.location, SUFFIXES, NOON + DAY)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert deleted["predictions"] == 5_000
    assert peak_bytes < 100_000


@pytest.mark.parametrize("dry_run", [True, False])
def test_forgetting_deletes_a_customers_rows(lake: Lake, *, dry_run: bool) -> None:
    """The predictions and their labels, whatever the id contains."""
    user = "o'brien"
    lake.store(a_record(0), a_record(1, user_id=user), a_record(2, user_id=user))
    lake.label(IDS[0], IDS[1])
    assert prediction_times(lake.location, SUFFIXES, user) == [NOON + timedelta(seconds=each) for each in (1, 2)]
    assert forget(lake.location, lake.engine, SUFFIXES, user, is_dry_run=dry_run) == {"predictions": 2, "labels": 1}
    assert lake.ids() == (IDS[:3] if dry_run else IDS[:1])
    assert lake.ids("prediction_labels") == (IDS[:2] if dry_run else IDS[:1])


def test_nothing_of_a_forgotten_customer_stays_on_the_disk(lake: Lake) -> None:
    """Neither in files of earlier versions, nor in the log."""
    lake.store(a_record(0), a_record(1, user_id="ann-7421"))
    forget(lake.location, lake.engine, SUFFIXES, "ann-7421")
    users = [
        user for file in lake.files() for user in parquet.ParquetFile(file).read(["user_id"])["user_id"].to_pylist()
    ]
    log = b"".join(each.read_bytes() for each in Path(lake.location, "predictions", "_delta_log").iterdir())
    assert users == ["customer-0"]
    assert b"ann-7421" not in log


@pytest.mark.parametrize("dry_run", [True, False])
def test_forgetting_deletes_labels_that_wait_in_the_database(lake: Lake, *, dry_run: bool) -> None:
    """They cannot follow the customer's predictions into the Delta table any more."""
    lake.store(a_record(0), a_record(1, user_id="ann"))
    lake.database.write_labels([PredictionLabel(each, 1) for each in IDS[:2]], NOON)
    deleted = forget(lake.location, lake.engine, SUFFIXES, "ann", is_dry_run=dry_run)
    assert deleted == {"predictions": 1, "labels": 1}
    lake.label()
    assert lake.ids("prediction_labels") == (IDS[:2] if dry_run else IDS[:1])


def test_interrupted_forgetting_can_be_repeated(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions stay until their labels are deleted, which are found by the predictions' ids."""
    lake.store(a_record(0), a_record(1, user_id="ann"))
    lake.label(*IDS[:2])

    def fail_for_labels(uri: str) -> DeltaTable:
        if uri.endswith("/prediction_labels"):
            raise PredictionLogError("unreachable")
        return open_table(uri)

    with monkeypatch.context() as patch:
        patch.setattr(delta_retention, "open_table", fail_for_labels)
        with pytest.raises(PredictionLogError):
            forget(lake.location, lake.engine, SUFFIXES, "ann")
    assert forget(lake.location, lake.engine, SUFFIXES, "ann") == {"predictions": 1, "labels": 1}
    assert (lake.ids(), lake.ids("prediction_labels")) == (IDS[:1], IDS[:1])
