from __future__ import annotations

from datetime import date
from itertools import pairwise
from time import time_ns
from uuid import UUID

import pytest

from leeway.data.population import Population, population
from leeway.schema import INT64_MAX, Value
from tests.conftest import AS_OF
from tests.fakes import TRACE, Service

Example = dict[str, Value]


# --- answers ----------------------------------------------------------------------------------------------------------


def test_a_customer_is_answered_from_the_newest_snapshot(service: Service, people: Population) -> None:
    """A `user_id` is answered from that customer's newest snapshot, whichever was loaded last."""
    later = population(1, customers=20)
    service.ingest(later, date(2026, 2, 28))
    service.ingest(people, date(2025, 12, 31))

    answer = service.post("/predict", {"user_id": "7590-VHVEG"}).json()

    assert (answer["as_of"], answer["features_used"]) == ("2026-02-28", later.row(0))


def test_an_answer_has_all_its_members(service: Service) -> None:
    """An answer holds these members, and nothing else."""
    answer = service.post("/predict", {"user_id": "7590-VHVEG"}).json()

    assert answer == {
        "user_id": "7590-VHVEG",
        "prediction": 0,
        "probability": pytest.approx(answer["probability"]),
        "features_used": answer["features_used"],
        "as_of": AS_OF.isoformat(),
        "model": {"name": "churn", "version": service.bundle.version},
        "prediction_id": answer["prediction_id"],
        "recorded": True,
        "trace_id": TRACE.trace_id,
    }


def test_features_are_answered_without_a_customer(service: Service, example: Example) -> None:
    """Given features are used as they are; there is neither customer nor date."""
    answer = service.post("/predict", {"features": example}).json()

    assert (answer["user_id"], answer["as_of"], answer["features_used"]) == (None, None, example)


def test_the_probability_is_the_models(service: Service, example: Example) -> None:
    """The probability is what the bundle scores."""
    answer = service.post("/predict", {"features": example}).json()

    assert answer["probability"] == pytest.approx(service.bundle.score([example])[0])


def test_the_order_in_which_features_are_sent_does_not_matter(service: Service, example: Example) -> None:
    """Features sent in another order are the same features, and come back in the schema's order."""
    backwards = dict(reversed(example.items()))

    answer = service.post("/predict", {"features": backwards}).json()

    assert list(answer["features_used"].items()) == list(example.items())


def test_the_prediction_follows_the_threshold(service: Service, people: Population) -> None:
    """The prediction is 1 from the card's decision threshold on, else 0."""
    answers = service.post("/predict/batch", {"items": [{"features": people.row(place)} for place in range(100)]})

    for answer in answers.json()["results"]:
        assert answer["prediction"] == int(answer["probability"] >= service.bundle.decision_threshold)


def test_a_whole_number_is_a_number(service: Service, example: Example) -> None:
    """JSON knows one kind of number: 60 is a valid fee."""
    answer = service.post("/predict", {"features": {**example, "monthly_fee": 60}}).json()

    assert answer["features_used"]["monthly_fee"] == 60.0


@pytest.mark.parametrize("change", [{"plan_stream_tv": None}, {}], ids=["null", "absent"])
def test_a_feature_that_may_be_missing_may(service: Service, example: Example, change: Example) -> None:
    """A nullable feature may be null or left out; either way it is used as missing, in its own place."""
    others = {name: value for name, value in example.items() if name != "plan_stream_tv"}

    answer = service.post("/predict", {"features": {**others, **change}}).json()

    assert answer["features_used"] == {**example, "plan_stream_tv": None}


def test_a_null_beside_the_other_is_as_good_as_nothing(service: Service, example: Example) -> None:
    """`user_id: null` beside features is the same as no `user_id`."""
    response = service.post("/predict", {"user_id": None, "features": example})

    assert response.status_code == 200


def test_what_was_never_seen_is_answered_and_counted_as_unusual(service: Service, example: Example) -> None:
    """A new category and a number beyond the training data are answered; the record counts them."""
    strange = {**example, "net_service": "satellite", "monthly_fee": 10_000.0, "skips_7d": INT64_MAX}

    response = service.post("/predict", {"features": strange})

    (record,) = service.spooled()
    assert (response.status_code, record.unusual_features) == (200, 3)


def test_typical_features_are_not_unusual(service: Service, example: Example) -> None:
    """What the training data is full of counts as nothing unusual."""
    service.post("/predict", {"features": example})

    (record,) = service.spooled()
    assert record.unusual_features == 0


def test_trace_id_is_null_without_telemetry(service: Service, example: Example) -> None:
    """Where telemetry is off there is no trace to name."""
    service.probe.trace = None

    assert service.post("/predict", {"features": example}).json()["trace_id"] is None


# --- ids --------------------------------------------------------------------------------------------------------------


def test_prediction_ids_are_uuids_of_version_7(service: Service, example: Example) -> None:
    """A prediction id is a UUIDv7 whose time is now."""
    before_ms = time_ns() // 1_000_000
    found = UUID(service.post("/predict", {"features": example}).json()["prediction_id"])
    after_ms = time_ns() // 1_000_000

    assert (found.version, found.variant) == (7, "specified in RFC 4122")
    assert before_ms <= found.int >> 80 <= after_ms


def test_a_batch_of_ids_does_not_run_ahead_of_the_clock(service: Service, example: Example) -> None:
    """A thousand ids at once still tell the time at which they were made."""
    batch = service.post("/predict/batch", {"items": [{"features": example}] * 1_000}).json()["results"]
    after_ms = time_ns() // 1_000_000

    assert UUID(batch[-1]["prediction_id"]).int >> 80 <= after_ms


def test_prediction_ids_rise(service: Service, example: Example) -> None:
    """Ids made one after the other sort in that order, and no id comes twice."""
    single = [service.post("/predict", {"features": example}).json()["prediction_id"] for _ in range(3)]
    batch = service.post("/predict/batch", {"items": [{"features": example}] * 1_000}).json()["results"]
    ids = [*single, *(each["prediction_id"] for each in batch)]

    assert all(one < other for one, other in pairwise(ids))
