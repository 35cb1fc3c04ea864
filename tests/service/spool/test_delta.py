from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from leeway.schema import CHURN_SCHEMA, FeatureSchema
from leeway.store.delta import create_delta_tables
from leeway.store.delta_retention import compact
from leeway.store.engine import open_engine
from leeway.store.predictions import PredictionLabel, PredictionLog, PredictionLogError
from leeway.store.record import PredictionRecord
from leeway.store.tables import tables_for
from service.spool.delta import DeltaWriter
from service.spool.drainer import SpoolDrainer
from service.spool.reader import Origin, SpoolReader
from service.spool.status import read_status
from tests.leeway.store.delta import delta_rows
from tests.leeway.store.records import IDS, NOON, a_record, some_records
from tests.service.processes import ROOT, eventually
from tests.service.spool.spools import (
    WAIT_S,
    RecordedEvents,
    dead_letters,
    drain,
    killed_while_appending,
    open_spool,
    taken,
)

pytest.importorskip("deltalake")


class Lake:
    """A folder of Delta tables with the database of their tombstones and labels, and writers of spools."""

    def __init__(self, folder: Path) -> None:
        self.location = str(folder / "lake")
        self.database_url = f"sqlite:///{folder / 'leeway.db'}"
        self.engine = open_engine(self.database_url)
        create_delta_tables(self.location, self.engine, CHURN_SCHEMA)

    def writer(self, spool: Path) -> DeltaWriter:
        """A writer of what the spool holds."""
        return DeltaWriter(self.location, self.engine, SpoolReader(spool))

    def ids(self) -> list[str]:
        """The ids in the table of predictions, in order."""
        return [row["prediction_id"] for row in delta_rows(self.location)]


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """An empty lake."""
    lake = Lake(tmp_path)
    yield lake
    lake.engine.dispose()


def test_a_crash_between_write_and_ack_duplicates_nothing(lake: Lake, tmp_path: Path) -> None:
    """After the restart the batch is longer, and what the table has of it is not written again."""
    path = tmp_path / "spool"
    with open_spool(path) as spool:
        spool.append(some_records(3))
        batch = taken(SpoolReader(path))
        lake.writer(path).write(CHURN_SCHEMA, batch.records, batch.origin)
        spool.append(some_records(4, start=3))
        drain(spool, lake.writer(path).write)
        assert (lake.ids(), spool.backlog()) == (IDS[:7], 0)


def test_a_lost_status_duplicates_nothing(lake: Lake, tmp_path: Path) -> None:
    """The table itself knows how much of each segment it has."""
    path = tmp_path / "spool"
    with open_spool(path) as spool:
        for number in range(2):
            spool.append(some_records(3, start=3 * number))
            drain(spool, lake.writer(path).write)
            (path / "drainer.status").unlink()
        drain(spool, lake.writer(path).write)
    assert lake.ids() == IDS[:6]


def test_a_rejected_record_does_not_hold_up_the_others(lake: Lake, tmp_path: Path) -> None:
    """It becomes a dead letter; what follows it is stored."""
    path = tmp_path / "spool"
    with open_spool(path) as spool:
        spool.append([a_record(0), a_record(1, unusual_features=2**40), a_record(2), a_record(3)])
        drain(spool, lake.writer(path).write)
    assert lake.ids() == [IDS[0], IDS[2], IDS[3]]
    assert len(dead_letters(path)) == 1


def test_an_outage_after_a_rejected_record_does_not_lose_it(lake: Lake, tmp_path: Path) -> None:
    """The repeated batch rejects it again, although later records of the segment are stored."""
    path, calls = tmp_path / "spool", list[str]()
    store = lake.writer(path).write

    def fail_once(schema: FeatureSchema, records: Sequence[PredictionRecord], origin: Origin) -> None:
        calls.append(records[0].prediction_id)
        if calls.count(IDS[2]) == 1 and calls[-1] == IDS[2]:
            raise PredictionLogError("unreachable")
        store(schema, records, origin)

    with open_spool(path) as spool:
        spool.append([a_record(0, unusual_features=2**40), *some_records(3, start=1)])
        probe = RecordedEvents()
        drainer = SpoolDrainer(SpoolReader(path), fail_once, probe, interval_s=0.01)
        drainer.start()
        assert eventually(lambda: spool.backlog() == 0)
        assert drainer.stop(WAIT_S)
    assert (lake.ids(), len(dead_letters(path))) == (IDS[1:4], 1)
    assert (probe.total("written"), probe.total("dead_lettered"), calls.count(IDS[2])) == (3, 1, 2)


def test_labels_follow_their_predictions(lake: Lake, tmp_path: Path) -> None:
    """The labels of each schema that the spool holds are moved from the database."""
    path = tmp_path / "spool"
    with open_spool(path):
        PredictionLog(lake.engine, tables_for(CHURN_SCHEMA)).write_labels([PredictionLabel(IDS[0], 1)], NOON)
        lake.writer(path).move_labels()
    assert [row["label"] for row in delta_rows(lake.location, "prediction_labels")] == [1]


@contextmanager
def drainer_process(lake: Lake, spool: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The drainer's process, as the service starts it; killed at the end."""
    process = subprocess.Popen([sys.executable, "-m", "service.spool"], cwd=ROOT, stdin=subprocess.PIPE)
    assert process.stdin is not None
    order = {"spool": str(spool), "database_url": lake.database_url, "delta": lake.location}
    process.stdin.write(json.dumps(order).encode() + b"\n")
    process.stdin.flush()
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.long
def test_two_replicas_store_everything_once_despite_kills_and_compaction(lake: Lake, tmp_path: Path) -> None:
    """Each replica's service and drainer are killed while they work, and the table is compacted meanwhile."""
    spools = [tmp_path / "a", tmp_path / "b"]
    expected: list[str] = []
    for turn in range(2):
        for place, spool in enumerate(spools):
            with drainer_process(lake, spool):
                first = 10_000 * (2 * turn + place)
                expected += killed_while_appending(spool, first=first, after=100)
                assert eventually(lambda: read_status(spool) is not None)  # noqa: B023 (called in this round)
        compact(lake.location, [""])
    for spool in spools:
        with drainer_process(lake, spool) as process:
            assert eventually(SpoolReader(spool).is_empty)
            process.communicate()  # closes its input: it stores what is left, and ends
    found = lake.ids()
    assert len(found) == len(set(found))
    assert set(expected) <= set(found)
