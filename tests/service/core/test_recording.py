from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest

from leeway.model.bundle import Bundle
from leeway.schema import Value
from leeway.store.record import PredictionRecord
from service.core.recording import LOG_EVERY_S, Recorder
from service.spool.spool import SpoolError, SpoolFull
from tests.fakes import SMALLEST_SPOOL_BYTES, RememberingProbe, Service
from tests.fixtures import Serve
from tests.leeway.store.records import some_records

Example = dict[str, Value]
StartFull = Callable[[str], Service]


@pytest.fixture
def full(serve: Serve, bundle: Bundle) -> StartFull:
    """Start a service whose spool is full, under the named policy."""

    def start(policy: str) -> Service:
        service = serve(bundle, required=policy == "required", spool_limit_bytes=SMALLEST_SPOOL_BYTES)
        service.fill_spool()
        service.probe.answers.clear()
        service.probe.spooled = service.probe.lost = 0
        return service

    return start


def test_available_answers_without_a_record(full: StartFull, example: Example) -> None:
    """With the policy `available` a full spool does not prevent an answer; `recorded` is false."""
    service = full("available")

    response = service.post("/predict", {"features": example})

    assert (response.status_code, response.json()["recorded"]) == (200, False)


def test_available_counts_what_is_lost(full: StartFull, example: Example) -> None:
    """Each answer without a record is counted as lost, and none as spooled."""
    service = full("available")
    service.post("/predict", {"features": example})
    service.post("/predict/batch", {"items": [{"features": example}] * 3})

    assert (service.probe.lost, service.probe.spooled) == (4, 0)
    assert [recorded for _, recorded in service.probe.answers] == [False]


def test_available_marks_each_answer_of_a_batch(full: StartFull, example: Example) -> None:
    """Every answer of a batch that could not be recorded says so."""
    found = full("available").post("/predict/batch", {"items": [{"features": example}] * 3}).json()["results"]

    assert [each["recorded"] for each in found] == [False] * 3


def test_required_does_not_answer(full: StartFull, example: Example) -> None:
    """With the policy `required` a full spool is 503, without the prediction."""
    response = full("required").post("/predict", {"features": example})

    assert response.status_code == 503
    assert "probability" not in response.json()


def test_required_loses_nothing(full: StartFull, example: Example) -> None:
    """What was not answered is not lost: it is counted as a failure."""
    service = full("required")
    service.post("/predict", {"features": example})

    assert (service.probe.lost, service.probe.failures) == (0, ["NotRecorded"])


def test_answers_are_recorded_again_once_there_is_room(full: StartFull, example: Example) -> None:
    """When the spool is drained the next answer is recorded, without a restart."""
    service = full("available")
    service.post("/predict", {"features": example})
    service.move()

    assert service.post("/predict", {"features": example}).json()["recorded"] is True


def test_a_spool_with_room_records(service: Service, example: Example) -> None:
    """Normally `recorded` is true and the record is counted."""
    answer = service.post("/predict", {"features": example}).json()

    assert (answer["recorded"], service.probe.spooled, service.probe.lost) == (True, 1, 0)


# --- the recorder alone ---------------------------------------------------------------------------------------------


@dataclass
class Sink:
    """A `RecordSink` that keeps its records until it is set to fail."""

    failing: bool = False
    kept: list[PredictionRecord] = field(default_factory=list)

    def append(self, records: Sequence[PredictionRecord]) -> None:
        """Keep, or fail."""
        if self.failing:
            raise SpoolError("spool x: no room left")
        self.kept.extend(records)


@dataclass
class Clock:
    """A clock that a test moves."""

    now_s: float = 0.0

    def __call__(self) -> float:
        """The time in seconds."""
        return self.now_s


def test_a_loss_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    """Of many losses the first is logged at once, and the others a minute later in one line that counts them."""
    clock = Clock()
    recorder = Recorder(Sink(failing=True), RememberingProbe(), required=False, clock_s=clock)
    with caplog.at_level(logging.ERROR):
        for second in (0.0, 1.0, LOG_EVERY_S - 1, LOG_EVERY_S):
            clock.now_s = second
            recorder.record(some_records(2))

    assert [record.getMessage() for record in caplog.records] == [
        "2 predictions answered without a record: spool x: no room left",
        "6 predictions answered without a record: spool x: no room left",
    ]


def test_a_rejection_is_logged_too(caplog: pytest.LogCaptureFixture) -> None:
    """If recording is required the log says that predictions were rejected."""
    recorder = Recorder(Sink(failing=True), RememberingProbe(), required=True)
    with caplog.at_level(logging.ERROR):
        recorder.record(some_records(1))

    assert [record.getMessage() for record in caplog.records] == ["1 predictions rejected: spool x: no room left"]


def test_no_customer_is_named_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The log line of a loss names no customer."""
    with caplog.at_level(logging.ERROR):
        Recorder(Sink(failing=True), RememberingProbe(), required=False).record(some_records(3))

    assert "customer-" not in caplog.text


def test_nothing_to_record_is_recorded() -> None:
    """No records are no loss, even if nothing can be written."""
    probe = RememberingProbe()

    assert Recorder(Sink(failing=True), probe, required=True).record([]) == []


def test_what_is_kept_is_counted() -> None:
    """The sink gets the records in order, and the probe their number."""
    sink, probe, records = Sink(), RememberingProbe(), some_records(3)

    assert Recorder(sink, probe, required=False).record(records) == [True] * 3
    assert (sink.kept, probe.spooled) == (records, 3)


@dataclass
class Partly(Sink):
    """A sink that keeps the first record of several before it fails; alone it keeps the records in `good`."""

    good: Sequence[PredictionRecord] = ()
    is_full: bool = False
    tried: list[int] = field(default_factory=list)

    def append(self, records: Sequence[PredictionRecord]) -> None:
        """Keep some of them."""
        self.tried.append(len(records))
        if self.is_full:
            raise SpoolFull("spool x: no room left")
        if len(records) > 1:
            self.kept.append(records[0])
            error = SpoolFull("spool x: no room left")
            error.kept = 1
            raise error
        if records[0] not in self.good:
            raise SpoolError("spool x: this record cannot be written")
        self.kept.extend(records)


def test_what_was_written_is_not_written_again() -> None:
    """A write that failed half-way keeps its first record; of the others, each is tried by itself."""
    records, probe = some_records(4), RememberingProbe()
    sink = Partly(good=[records[2]])

    assert Recorder(sink, probe, required=False).record(records) == [True, False, True, False]
    assert sink.kept == [records[0], records[2]]
    assert (probe.spooled, probe.lost) == (2, 2)


def test_a_full_spool_is_not_tried_a_thousand_times() -> None:
    """If there is no room for one record, there is none for the next."""
    sink = Partly(is_full=True)

    assert Recorder(sink, RememberingProbe(), required=False).record(some_records(1_000)) == [False] * 1_000
    assert sink.tried == [1_000, 1]
