from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.schema import Value
from service.core.predictor import (
    NoSnapshots,
    NotRecorded,
    Prediction,
    PredictionError,
    Predictor,
    SnapshotStoreDown,
    UnknownCustomer,
)
from service.core.recording import Recorder
from service.telemetry.probe import PredictionProbe
from tests.leeway.store.records import NOON
from tests.service.core.predictor.setting import DAY, Setting, Shelf, Sink, by_features, by_id, row


def test_a_prediction_carries_its_record(make: Callable[..., Setting], people: Population) -> None:
    """The record that was kept is the one in the answer, with time, customer, date and features."""
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
    """Where features are given the snapshots are not asked, and there is no look-up time."""
    setting = make()

    prediction = setting.predictor.predict(by_features(example))

    assert (setting.shelf.times_asked, prediction.record.lookup_duration_s) == (0, None)


def test_each_kind_of_failure_is_its_own(make: Callable[..., Setting]) -> None:
    """Unknown customer, no snapshots and no store are told apart."""
    setting = make()
    with pytest.raises(UnknownCustomer):
        setting.predictor.predict(by_id("nobody"))
    setting.shelf.snapshots.clear()
    with pytest.raises(NoSnapshots):
        setting.predictor.predict(by_id("nobody"))
    setting.shelf.is_away = True
    with pytest.raises(SnapshotStoreDown):
        setting.predictor.predict(by_id("u1"))
    assert setting.probe.failures == ["UnknownCustomer", "NoSnapshots", "SnapshotStoreDown"]


def test_not_recorded_is_raised_only_where_required(make: Callable[..., Setting]) -> None:
    """A full sink fails the prediction where recording is required, else marks it."""
    strict, lenient = make(required=True), make()
    strict.sink.is_full = lenient.sink.is_full = True

    assert lenient.predictor.predict(by_id("u1")).recorded is False
    with pytest.raises(NotRecorded):
        strict.predictor.predict(by_id("u1"))


def test_a_batch_fails_whole_where_recording_is_required(make: Callable[..., Setting]) -> None:
    """A batch is recorded in one step, so it fails as one."""
    setting = make(required=True)
    setting.sink.is_full = True

    with pytest.raises(NotRecorded):
        setting.predictor.predict_batch([by_id("u0"), by_id("u1")])


def test_a_batch_keeps_the_order(make: Callable[..., Setting], example: dict[str, Value]) -> None:
    """Answers and failures stand where their requests stood; only answers are recorded."""
    setting = make()
    requests = [by_id("u2"), by_id("nobody"), by_features(example), by_id("u0")]

    answers = setting.predictor.predict_batch(requests)

    found = [each.record.user_id if isinstance(each, Prediction) else type(each) for each in answers]
    assert found == ["u2", UnknownCustomer, None, "u0"]
    assert [record.user_id for record in setting.sink.kept] == ["u2", None, "u0"]


def test_an_empty_batch_has_no_answers(make: Callable[..., Setting]) -> None:
    """Nothing in, nothing out, and the model is not called."""
    setting = make()

    assert (setting.predictor.predict_batch([]), setting.probe.scorings) == ([], [])


def test_a_batch_of_failures_scores_nothing(make: Callable[..., Setting]) -> None:
    """Where nobody is known the model is not called."""
    setting = make()

    answers = setting.predictor.predict_batch([by_id("nobody"), by_id("no one")])

    assert all(isinstance(each, PredictionError) for each in answers)
    assert setting.probe.scorings == []


def test_a_predictor_works_untold(bundle: Bundle, example: dict[str, Value]) -> None:
    """With the null probe predictions are made all the same, without a trace."""
    probe = PredictionProbe()
    predictor = Predictor(bundle, Shelf(), Recorder(Sink(), probe, required=True), probe)

    prediction = predictor.predict(by_features(example))

    assert (prediction.trace_id, prediction.record.trace_id, prediction.recorded) == (None, None, True)


def test_threads_do_not_mix_answers(make: Callable[..., Setting], people: Population) -> None:
    """Predictions made at the same time are each their own customer's."""
    setting = make()
    with ThreadPoolExecutor(8) as threads:
        predictions = list(threads.map(setting.predictor.predict, [by_id(f"u{place % 3}") for place in range(300)]))

    assert all(each.record.features == row(people, place % 3) for place, each in enumerate(predictions))
    assert len({each.record.prediction_id for each in predictions}) == 300
