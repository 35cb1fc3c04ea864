"""What is erased of a customer in the spool, and what stays."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event

from leeway.schema import FeatureSchema
from leeway.store.record import PredictionRecord
from service.spool.drainer import DrainerProbe, SpoolDrainer
from service.spool.erasure import SpoolErasure, count_in_spool, erase_from_spool
from service.spool.reader import DeadLetter, Origin, SpoolReader
from service.spool.segments import dead_letters_path, segments_in
from service.spool.spool import Spool
from service.spool.status import FILE_NAME
from tests.leeway.store.records import a_record
from tests.service.spool.spools import WAIT_S, dead_letters, drain, drain_all, waiting

ANN = "ann-ö"


def records(*user_ids: str | None) -> list[PredictionRecord]:
    """A record of each of these customers."""
    return [a_record(number, user_id=user_id) for number, user_id in enumerate(user_ids)]


def bytes_of(path: Path) -> bytes:
    """All that a spool's files hold."""
    return b"".join(each.read_bytes() for each in sorted(path.rglob("*")) if each.is_file())


def users(found: Sequence[PredictionRecord]) -> list[str | None]:
    """Their customers."""
    return [record.user_id for record in found]


def test_without_a_drainer_waiting_records_are_erased(path: Path, spool: Spool) -> None:
    """Those of others are stored; an erased one is neither stored, nor a dead letter, nor counted as waiting."""
    spool.append(records(ANN, "bob", None, ANN, f"not {ANN}"))
    assert count_in_spool(path, ANN) == SpoolErasure(records=2)
    assert erase_from_spool(path, ANN, timeout_s=0) == SpoolErasure(records=2)
    assert erase_from_spool(path, ANN, timeout_s=0) == count_in_spool(path, ANN) == SpoolErasure()
    stored: list[PredictionRecord] = []
    events = drain(spool, lambda _, batch, _origin: stored.extend(batch), batch_rows=2)
    assert (users(stored), events.total("written"), dead_letters(path)) == (["bob", None, f"not {ANN}"], 3, [])
    assert spool.backlog() == 0


def test_stored_records_are_erased_while_their_writer_goes_on(path: Path, spool: Spool) -> None:
    """A segment stays until its writer closes it; even a drainer that lost its status brings nothing back."""
    spool.append(records(ANN, "bob"))
    drain_all(path)
    assert erase_from_spool(path, ANN, timeout_s=0) == SpoolErasure(records=1)
    spool.append([a_record(2)])
    (path / FILE_NAME).unlink()
    assert users(drain_all(path)) == ["bob", "customer-2"]
    assert ANN.encode() not in bytes_of(path)


def test_a_running_drainer_is_waited_for(path: Path, spool: Spool) -> None:
    """It handles a record that waits, which is erased afterwards."""
    spool.append(records(ANN, "bob"))
    may_store, stored = Event(), list[PredictionRecord]()

    def write(_: FeatureSchema, batch: Sequence[PredictionRecord], _origin: Origin) -> None:
        may_store.wait(WAIT_S)
        stored.extend(batch)

    drainer = SpoolDrainer(SpoolReader(path), write, DrainerProbe(), interval_s=0.01)
    drainer.start()
    with ThreadPoolExecutor() as pool:
        erasing = pool.submit(erase_from_spool, path, ANN, timeout_s=WAIT_S)
        done, _ = wait([erasing], timeout=0.3)
        may_store.set()
        assert (done, erasing.result(), users(stored)) == (set(), SpoolErasure(records=1), [ANN, "bob"])
    assert drainer.stop(WAIT_S)


def test_a_record_that_still_waits_is_left_to_the_drainer(path: Path, spool: Spool) -> None:
    """During an outage, say: it is counted, and a later call erases it."""
    spool.append(records(ANN, "bob"))
    drainer = SpoolReader(path)
    assert drainer.lease()
    assert erase_from_spool(path, ANN, timeout_s=0) == SpoolErasure(waiting=1)
    assert users(waiting(path)) == [ANN, "bob"]
    drain_all(path)
    assert erase_from_spool(path, ANN, timeout_s=0) == SpoolErasure(records=1)
    drainer.release()


def test_a_damaged_record_that_names_the_customer_is_erased(path: Path, spool: Spool) -> None:
    """Another damaged one becomes a dead letter as before."""
    spool.append(records(ANN, "bob", "carl"))
    segment = segments_in(path)[0].path
    segment.write_bytes(segment.read_bytes().replace(b"0.25", b"0.26"))
    assert erase_from_spool(path, ANN, timeout_s=0) == SpoolErasure(records=1)
    assert drain(spool, lambda _schema, _records, _origin: None).total("dead_lettered") == 2
    assert ANN.encode() not in bytes_of(path)


def test_dead_letters_are_erased(path: Path, reader: SpoolReader) -> None:
    """The customer's, and those that cannot be read; new ones are still appended and erased."""
    letters = [DeadLetter("bad", "f", record.to_json().decode()) for record in records(ANN, "bob")]
    reader.keep_dead_letters([*letters, DeadLetter("torn write", "f", '["0195')])
    assert count_in_spool(path, ANN) == SpoolErasure(dead_letters=2)
    assert erase_from_spool(path, ANN, timeout_s=0) == SpoolErasure(dead_letters=2)
    assert [each["reason"] for each in dead_letters(path)] == ["erased", "bad", "erased"]
    assert erase_from_spool(path, ANN, timeout_s=0) == SpoolErasure()
    reader.keep_dead_letters(letters)
    assert erase_from_spool(path, ANN, timeout_s=0) == SpoolErasure(dead_letters=1)
    assert ANN.encode() not in dead_letters_path(path).read_bytes()


def test_a_missing_spool_holds_nothing(path: Path) -> None:
    """Where the service never ran there is no folder, and none appears."""
    assert count_in_spool(path, ANN) == erase_from_spool(path, ANN, timeout_s=0) == SpoolErasure()
    assert not path.exists()
