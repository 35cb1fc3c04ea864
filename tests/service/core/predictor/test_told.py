from __future__ import annotations

from collections.abc import Callable

from leeway.schema import Value
from tests.service.core.predictor.setting import Setting, by_features, by_id


def test_the_probe_hears_of_the_look_up(make: Callable[..., Setting]) -> None:
    """How many were asked for, how many found, and how long it took."""
    setting = make()
    setting.predictor.predict_batch([by_id("u0"), by_id("u1"), by_id("nobody")])

    (lookup,) = setting.probe.lookups
    assert (lookup.asked, lookup.found, lookup.error) == (3, 2, None)
    assert lookup.duration_ns > 0


def test_the_probe_hears_of_a_look_up_that_failed(make: Callable[..., Setting]) -> None:
    """A failed look-up is told with its error."""
    setting = make()
    setting.shelf.is_away = True
    setting.predictor.predict_batch([by_id("u0")])

    assert [(lookup.found, lookup.error) for lookup in setting.probe.lookups] == [(0, "SnapshotStoreDown")]


def test_the_probe_hears_which_features_are_unusual(make: Callable[..., Setting], example: dict[str, Value]) -> None:
    """The unusual features of each row are named, and their number is recorded."""
    setting = make()
    strange = {**example, "net_service": "satellite", "monthly_fee": 9_999.0}

    prediction = setting.predictor.predict(by_features(strange))

    assert [scoring.unusual for scoring in setting.probe.scorings] == [[("monthly_fee", "net_service")]]
    assert prediction.record.unusual_features == 2


def test_the_whole_takes_longer_than_its_part(make: Callable[..., Setting]) -> None:
    """Scoring is told with the time of the inference within it; the record has the latter in seconds."""
    setting = make()

    record = setting.predictor.predict(by_id("u0")).record

    (scoring,) = setting.probe.scorings
    assert scoring.duration_ns >= scoring.inference_ns > 0
    assert record.inference_duration_s == scoring.inference_ns / 1e9
