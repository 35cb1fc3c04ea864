"""The predictor, with everything it works with in memory."""

from __future__ import annotations

import doctest
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.model.encoding import Encoded
from leeway.schema import CHURN_SCHEMA, FeatureRow, Value
from leeway.store.record import PredictionRecord
from leeway.store.snapshots import Snapshot, Snapshots, SnapshotsUnavailable
from service.core import predictor as predictor_module
from service.core.predictor import (
    NoScore,
    NoSnapshots,
    NotRecorded,
    Prediction,
    PredictionError,
    PredictionRequest,
    Predictor,
    SnapshotStoreDown,
    UnknownCustomer,
)
from service.core.recording import Recorder
from service.spool.spool import SpoolError
from service.telemetry.probe import PredictionProbe
from tests.fakes import RememberingProbe, service_over
from tests.fixtures import AS_OF
from tests.leeway.store.records import NOON

DAY = date(2026, 2, 28)


@dataclass
class Store:
    """A `SnapshotSource` in memory that can be made unreachable."""

    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    is_unreachable: bool = False
    lookups: int = 0

    def lookup_many(self, user_ids: Sequence[str]) -> Mapping[str, Snapshot]:
        """See `SnapshotSource`."""
        self.lookups += 1
        if self.is_unreachable:
            raise SnapshotsUnavailable("unreachable")
        return {user_id: self.snapshots[user_id] for user_id in user_ids if user_id in self.snapshots}

    def is_empty(self) -> bool:
        """See `SnapshotSource`."""
        return not self.snapshots


@dataclass
class Sink:
    """A `RecordSink` in memory that can be made full."""

    is_full: bool = False
    kept: list[PredictionRecord] = field(default_factory=list)

    def append(self, records: Sequence[PredictionRecord]) -> None:
        """Keep, or fail."""
        if self.is_full:
            raise SpoolError("full")
        self.kept.extend(records)


@dataclass(frozen=True)
class Scores:
    """A scorer whose last answer is this, and the others 0.5."""

    last: float

    def score(self, encoded: Encoded) -> NDArray[np.float64]:
        """See `Scorer`."""
        return np.array([*[0.5] * (len(encoded.numbers) - 1), self.last])


@dataclass
class Setting:
    """A predictor and what it was built from."""

    predictor: Predictor
    store: Store
    sink: Sink
    probe: RememberingProbe


def row(people: Population, place: int) -> FeatureRow:
    """The features of one customer."""
    return CHURN_SCHEMA.row(people.row(place))


def by_features(values: dict[str, Value]) -> PredictionRequest:
    """A request with the features themselves."""
    return PredictionRequest(features=CHURN_SCHEMA.row(values))


def by_id(user_id: str) -> PredictionRequest:
    """A request for a customer."""
    return PredictionRequest(user_id=user_id)


@pytest.fixture
def make(bundle: Bundle, people: Population) -> Callable[..., Setting]:
    """Build a predictor with snapshots of the customers `u0` to `u2`, at noon."""

    def build(*, required: bool = False) -> Setting:
        store = Store({f"u{place}": Snapshot(f"u{place}", DAY, row(people, place)) for place in range(3)})
        sink, probe = Sink(), RememberingProbe()
        recorder = Recorder(sink, probe, required=required)
        return Setting(Predictor(bundle, store, recorder, probe, lambda: NOON), store, sink, probe)

    return build


# --- answers ----------------------------------------------------------------------------------------------------------


def test_a_prediction_carries_its_record(make: Callable[..., Setting], people: Population) -> None:
    """The answer has the record that was kept, with time, customer, date and features."""
    setting = make()

    prediction = setting.predictor.predict(by_id("u1"))

    record = prediction.record
    assert (record.predicted_at, record.user_id, record.as_of, record.features) == (
        NOON,
        "u1",
        DAY,
        row(people, 1),
    )
    assert setting.sink.kept == [record]


def test_features_need_no_look_up(make: Callable[..., Setting], example: dict[str, Value]) -> None:
    """With features there is no lookup, and no lookup time."""
    setting = make()

    prediction = setting.predictor.predict(by_features(example))

    assert (setting.store.lookups, prediction.record.lookup_duration_s) == (0, None)


def test_each_failure_has_its_own_error(make: Callable[..., Setting]) -> None:
    """Unknown customer, no snapshots and an unreachable store are different errors."""
    setting = make()
    with pytest.raises(UnknownCustomer):
        setting.predictor.predict(by_id("nobody"))
    setting.store.snapshots.clear()
    with pytest.raises(NoSnapshots):
        setting.predictor.predict(by_id("nobody"))
    setting.store.is_unreachable = True
    with pytest.raises(SnapshotStoreDown):
        setting.predictor.predict(by_id("u1"))
    assert setting.probe.failures == ["UnknownCustomer", "NoSnapshots", "SnapshotStoreDown"]


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_an_error(make: Callable[..., Setting], score: float) -> None:
    """It is neither answered nor recorded; the others of a batch are."""
    setting = make()
    odd = replace(setting.predictor, bundle=replace(setting.predictor.bundle, scorer=Scores(score)))

    with pytest.raises(NoScore):
        odd.predict(by_id("u1"))
    with pytest.raises(NoScore):
        odd.answer_together([("u1", DAY, setting.store.snapshots["u1"].features, False)], [None], [None])
    first, second = odd.predict_batch([by_id("u0"), by_id("u1")])

    assert (isinstance(first, Prediction), isinstance(second, NoScore)) == (True, True)
    assert [record.user_id for record in setting.sink.kept] == ["u0"]


def test_not_recorded_is_raised_only_where_required(make: Callable[..., Setting]) -> None:
    """A full sink fails the prediction if recording is required, else `recorded` is false."""
    strict, lenient = make(required=True), make()
    strict.sink.is_full = lenient.sink.is_full = True

    assert lenient.predictor.predict(by_id("u1")).recorded is False
    with pytest.raises(NotRecorded):
        strict.predictor.predict(by_id("u1"))


def test_a_batch_fails_as_one_if_recording_is_required(make: Callable[..., Setting]) -> None:
    """A batch is recorded in one step, so it fails as one."""
    setting = make(required=True)
    setting.sink.is_full = True

    with pytest.raises(NotRecorded):
        setting.predictor.predict_batch([by_id("u0"), by_id("u1")])


def test_a_batch_keeps_the_order(make: Callable[..., Setting], example: dict[str, Value]) -> None:
    """Answers and errors have the order of the requests; only answers are recorded."""
    setting = make()
    requests = [by_id("u2"), by_id("nobody"), by_features(example), by_id("u0")]

    answers = setting.predictor.predict_batch(requests)

    found = [each.record.user_id if isinstance(each, Prediction) else type(each) for each in answers]
    assert found == ["u2", UnknownCustomer, None, "u0"]
    assert [record.user_id for record in setting.sink.kept] == ["u2", None, "u0"]


def test_an_empty_batch_has_no_answers(make: Callable[..., Setting]) -> None:
    """An empty batch has an empty answer, without a call of the model."""
    setting = make()

    assert (setting.predictor.predict_batch([]), setting.probe.scorings) == ([], [])


def test_a_batch_of_failures_scores_nothing(make: Callable[..., Setting]) -> None:
    """If no customer is known the model is not called."""
    setting = make()

    answers = setting.predictor.predict_batch([by_id("nobody"), by_id("no one")])

    assert all(isinstance(each, PredictionError) for each in answers)
    assert setting.probe.scorings == []


def test_a_predictor_works_without_telemetry(bundle: Bundle, example: dict[str, Value]) -> None:
    """With the base probe predictions work, without a trace."""
    probe = PredictionProbe()
    predictor = Predictor(bundle, Store(), Recorder(Sink(), probe, required=True), probe)

    prediction = predictor.predict(by_features(example))

    assert (prediction.trace_id, prediction.record.trace_id, prediction.recorded) == (None, None, True)


def test_threads_do_not_mix_answers(make: Callable[..., Setting], people: Population) -> None:
    """Concurrent predictions use their own customer's features."""
    setting = make()
    with ThreadPoolExecutor(8) as threads:
        predictions = list(threads.map(setting.predictor.predict, [by_id(f"u{place % 3}") for place in range(300)]))

    assert all(each.record.features == row(people, place % 3) for place, each in enumerate(predictions))
    assert len({each.record.prediction_id for each in predictions}) == 300


# --- the probe --------------------------------------------------------------------------------------------------------


def test_the_probe_gets_the_look_up(make: Callable[..., Setting]) -> None:
    """The lookup has the numbers of requested and found customers, and its duration."""
    setting = make()
    setting.predictor.predict_batch([by_id("u0"), by_id("u1"), by_id("nobody")])

    (lookup,) = setting.probe.lookups
    assert (lookup.asked, lookup.found, lookup.error) == (3, 2, None)
    assert lookup.duration_ns > 0


def test_the_probe_gets_a_failed_look_up(make: Callable[..., Setting]) -> None:
    """A failed lookup has its error."""
    setting = make()
    setting.store.is_unreachable = True
    setting.predictor.predict_batch([by_id("u0")])

    assert [(lookup.found, lookup.error) for lookup in setting.probe.lookups] == [(0, "SnapshotStoreDown")]


def test_the_probe_gets_the_unusual_features(make: Callable[..., Setting], example: dict[str, Value]) -> None:
    """The unusual features of each row are named, and their number is recorded."""
    setting = make()
    strange = {**example, "net_service": "satellite", "monthly_fee": 9_999.0}

    prediction = setting.predictor.predict(by_features(strange))

    assert [scoring.unusual for scoring in setting.probe.scorings] == [[("monthly_fee", "net_service")]]
    assert prediction.record.unusual_features == 2


def test_scoring_includes_inference(make: Callable[..., Setting]) -> None:
    """Scoring has its duration and that of the inference within it; the record has the latter in seconds."""
    setting = make()

    record = setting.predictor.predict(by_id("u0")).record

    (scoring,) = setting.probe.scorings
    assert scoring.duration_ns >= scoring.inference_ns > 0
    assert record.inference_duration_s == scoring.inference_ns / 1e9


def test_the_docstrings_example_works(bundle: Bundle, people: Population, tmp_path: Path) -> None:
    """The docstring of `Predictor` shows its use."""
    with service_over(bundle, tmp_path) as service:
        service.ingest(people, AS_OF)
        parts = {"bundle": bundle, "snapshots": Snapshots(service.engine, service.tables), "spool": service.spool}
        assert doctest.testmod(predictor_module, extraglobs=parts) == (0, 4)
