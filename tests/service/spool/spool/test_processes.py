from __future__ import annotations

import itertools
import threading
from pathlib import Path

from service.spool.spool import Spool
from tests.leeway.store.records import open_spool, some_records, start_appending
from tests.service.spool.spool.contents import append_singly, waiting


def test_several_processes_append_at_once(path: Path) -> None:
    """Nothing is lost or doubled where three processes write at the same time."""
    children = [start_appending(path, first=first, count=200) for first in (0, 1_000, 2_000)]
    printed = [child.communicate(timeout=60)[0].split() for child in children]
    with open_spool(path) as spool:
        ids = [record.prediction_id for record in waiting(spool)]
    assert sorted(ids) == sorted(itertools.chain(*printed))
    assert len(ids) == 600


def test_threads_share_the_appending_connection(spool: Spool) -> None:
    """The event loop and the pool's threads may append at the same time."""
    threads = [
        threading.Thread(target=append_singly, args=(spool, some_records(100, first))) for first in (0, 100, 200, 300)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {record.prediction_id for record in waiting(spool)} == {each.prediction_id for each in some_records(400)}


def test_an_acknowledged_record_survives_kill_9(path: Path) -> None:
    """Every id that a process printed before it was killed is in the spool, exactly once."""
    child = start_appending(path)
    assert child.stdout is not None
    printed = [child.stdout.readline().strip() for _ in range(300)]
    child.kill()
    printed += [line for line in child.communicate()[0].split("\n")[:-1] if line]
    with open_spool(path) as spool:
        ids = [record.prediction_id for record in waiting(spool, limit=100_000)]
    assert set(printed) <= set(ids)
    assert len(ids) == len(set(ids))


def test_one_process_at_a_time_may_move(path: Path) -> None:
    """A second lease is not given while the first is held."""
    with open_spool(path) as one, open_spool(path) as other:
        held = one.lease()
        assert held is not None
        with held:
            assert other.lease() is None


def test_a_lease_let_go_is_given_to_the_next(path: Path) -> None:
    """Another process takes over."""
    with open_spool(path) as one, open_spool(path) as other:
        first = one.lease()
        assert first is not None
        first.release()
        second = other.lease()
        assert second is not None
        second.release()
