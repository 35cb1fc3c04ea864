"""`POST /predict`: answers, customers, records, and models with other schemas."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import pairwise
from time import time_ns
from uuid import UUID

import pytest

from leeway.data.population import Population, population
from leeway.model.bundle import Bundle
from leeway.schema import CHURN_SCHEMA, INT64_MAX, Value
from tests.fakes import TRACE, Service
from tests.fixtures import AS_OF, AWKWARD_SCHEMA, Serve, awkward_row

# --- answers ----------------------------------------------------------------------------------------------------------


Example = dict[str, Value]


# --- answers ----------------------------------------------------------------------------------------------------------


def test_a_customer_is_answered_from_the_newest_snapshot(serve: Serve, bundle: Bundle, people: Population) -> None:
    """A `user_id` is answered from that customer's newest snapshot, whichever was loaded last."""
    service, later = serve(bundle), population(1, customers=20)
    service.ingest(later, date(2026, 2, 28))
    service.ingest(people, date(2025, 12, 31))

    answer = service.post("/predict", {"user_id": "7590-VHVEG"}).json()

    assert (answer["as_of"], answer["features_used"]) == ("2026-02-28", later.row(0))


def test_an_answer_has_all_its_members(service: Service) -> None:
    """An answer has these members, and no others."""
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
        assert answer["prediction"] == int(answer["probability"] >= service.bundle.card.decision_threshold)


def test_a_whole_number_is_a_number(service: Service, example: Example) -> None:
    """JSON has one kind of number: 60 is a valid fee."""
    answer = service.post("/predict", {"features": {**example, "monthly_fee": 60}}).json()

    assert answer["features_used"]["monthly_fee"] == 60.0


@pytest.mark.parametrize("change", [{"plan_stream_tv": None}, {}], ids=["null", "absent"])
def test_a_nullable_feature_may_be_missing(service: Service, example: Example, change: Example) -> None:
    """A nullable feature may be null or left out; either way it is used as missing, in its own place."""
    others = {name: value for name, value in example.items() if name != "plan_stream_tv"}

    answer = service.post("/predict", {"features": {**others, **change}}).json()

    assert answer["features_used"] == {**example, "plan_stream_tv": None}


def test_a_null_user_id_is_ignored(service: Service, example: Example) -> None:
    """`user_id: null` with features is the same as no `user_id`."""
    response = service.post("/predict", {"user_id": None, "features": example})

    assert response.status_code == 200


def test_what_was_never_seen_is_answered_and_counted_as_unusual(service: Service, example: Example) -> None:
    """A new category and a number beyond the training data are answered; the record counts them."""
    strange = {**example, "net_service": "satellite", "monthly_fee": 10_000.0, "skips_7d": INT64_MAX}

    response = service.post("/predict", {"features": strange})

    (record,) = service.spooled()
    assert (response.status_code, record.unusual_features) == (200, 3)


def test_typical_features_are_not_unusual(service: Service, example: Example) -> None:
    """Values that are common in the training data are not unusual."""
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


def test_a_batch_of_ids_is_not_ahead_of_the_clock(service: Service, example: Example) -> None:
    """A thousand ids at once still contain the time at which they were created."""
    batch = service.post("/predict/batch", {"items": [{"features": example}] * 1_000}).json()["results"]
    after_ms = time_ns() // 1_000_000

    assert UUID(batch[-1]["prediction_id"]).int >> 80 <= after_ms


def test_prediction_ids_rise(service: Service, example: Example) -> None:
    """Ids made one after the other sort in that order, and no id comes twice."""
    single = [service.post("/predict", {"features": example}).json()["prediction_id"] for _ in range(3)]
    batch = service.post("/predict/batch", {"items": [{"features": example}] * 1_000}).json()["results"]
    ids = [*single, *(each["prediction_id"] for each in batch)]

    assert all(one < other for one, other in pairwise(ids))


# --- customers --------------------------------------------------------------------------------------------------------


def test_an_unknown_customer_is_404(service: Service) -> None:
    """A customer without a snapshot is unknown, and the detail says what to do."""
    response = service.post("/predict", {"user_id": "nobody"})

    assert (response.status_code, response.json()["type"]) == (404, "urn:leeway:problem:unknown-customer")
    assert "check the user_id, or send features" in response.json()["detail"]


def test_an_unknown_customers_id_is_not_repeated(service: Service) -> None:
    """A problem document may end up in a log: it does not contain the id."""
    assert "4711-SECRET" not in service.post("/predict", {"user_id": "4711-SECRET"}).text


def test_a_schema_without_snapshots_says_so(serve: Serve, bundle: Bundle) -> None:
    """If nothing was ever ingested the answer is another 404, which says what to run."""
    response = serve(bundle).post("/predict", {"user_id": "7590-VHVEG"})

    assert (response.status_code, response.json()["type"]) == (404, "urn:leeway:problem:no-snapshots")
    assert "leeway ingest" in response.json()["detail"]


def test_without_the_snapshot_store_customers_get_503(service: Service) -> None:
    """A customer cannot be looked up while the database is unreachable; the detail says that features work."""
    service.lose_database()

    response = service.post("/predict", {"user_id": "7590-VHVEG"})

    assert (response.status_code, response.json()["type"]) == (503, "urn:leeway:problem:snapshot-store-down")
    assert "send features" in response.json()["detail"]


def test_without_the_snapshot_store_features_are_answered(service: Service, example: Example) -> None:
    """Features need no database: the answer is recorded, and reaches the database when it is back."""
    service.lose_database()
    answer = service.post("/predict", {"features": example}).json()
    service.find_database()
    service.move()

    assert answer["recorded"] is True
    assert [row["prediction_id"] for row in service.rows(service.tables.predictions)] == [answer["prediction_id"]]


def test_customers_are_answered_again_once_the_store_is_back(service: Service) -> None:
    """An outage of the database ends without a restart."""
    service.lose_database()
    service.post("/predict", {"user_id": "7590-VHVEG"})
    service.find_database()

    assert service.post("/predict", {"user_id": "7590-VHVEG"}).status_code == 200


# --- records ----------------------------------------------------------------------------------------------------------


def test_what_is_answered_is_recorded(service: Service) -> None:
    """The spool holds the answer with all its values before the answer is sent."""
    before = datetime.now(UTC)

    answer = service.post("/predict", {"user_id": "7590-VHVEG"}).json()

    (record,) = service.spooled()
    assert before <= record.predicted_at <= datetime.now(UTC)
    assert record.lookup_duration_s is not None
    assert 0 < record.inference_duration_s < 1
    assert (record.trace_id, record.span_id) == (TRACE.trace_id, TRACE.span_id)
    assert (record.user_id, record.as_of) == ("7590-VHVEG", AS_OF)
    assert (record.prediction_id, record.model_version) == (answer["prediction_id"], answer["model"]["version"])
    assert (record.features, record.score, record.prediction) == (
        CHURN_SCHEMA.row(answer["features_used"]),
        answer["probability"],
        answer["prediction"],
    )


def test_what_is_recorded_reaches_the_database(service: Service, people: Population) -> None:
    """The database gets every value of the record, in typed columns."""
    answer = service.post("/predict", {"user_id": "7590-VHVEG"}).json()
    service.move()

    (row,) = service.rows(service.tables.predictions)
    assert {name: row[name] for name in CHURN_SCHEMA.names} == people.row(0)
    assert (row["prediction_id"], row["score"], row["user_id"]) == (
        answer["prediction_id"],
        answer["probability"],
        "7590-VHVEG",
    )


def test_a_trace_that_is_not_sampled_is_not_recorded(service: Service, example: Example) -> None:
    """The answer names its trace; the record does not, because the trace will not be stored."""
    service.probe.trace = type(TRACE)(TRACE.trace_id, TRACE.span_id, sampled=False)

    answer = service.post("/predict", {"features": example}).json()

    (record,) = service.spooled()
    assert (answer["trace_id"], record.trace_id) == (TRACE.trace_id, None)


def test_what_is_rejected_is_not_recorded(service: Service) -> None:
    """Neither an invalid request nor an unknown customer leaves a record."""
    service.post("/predict", {"features": {}})
    service.post("/predict", {"user_id": "nobody"})

    assert service.spooled() == []


# --- other models -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", range(0, 90, 9))
def test_any_feature_name_that_a_schema_allows_works(serve: Serve, awkward_bundle: Bundle, place: int) -> None:
    """Names with spaces and dots, and names that Python or pydantic use, are accepted and returned unchanged."""
    row = awkward_row(place)

    answer = serve(awkward_bundle).post("/predict", {"features": row}).json()

    assert answer["features_used"] == row
    assert answer["probability"] == pytest.approx(awkward_bundle.score([row])[0])


def test_awkward_names_are_named_in_rejections(serve: Serve, awkward_bundle: Bundle) -> None:
    """A rejection names an awkward feature by its own name, and is counted under it."""
    service = serve(awkward_bundle)

    response = service.post("/predict", {"features": {**awkward_row(1), "_private name": -6, "a.b-c": 1}})

    assert {each["field"] for each in response.json()["errors"]} == {"features._private name", "features.a.b-c"}
    assert service.probe.rejections == [("_private name", "out_of_range"), ("a.b-c", "wrong_type")]


def test_awkward_names_reach_the_database(serve: Serve, awkward_bundle: Bundle) -> None:
    """A customer of another schema is looked up, answered and stored; a feature may have the name of a column."""
    service, rows = serve(awkward_bundle), [awkward_row(place) for place in range(5)]
    people = Population(
        [f"u{place}" for place in range(5)],
        {name: [row[name] for row in rows] for name in AWKWARD_SCHEMA.names},
        [0] * 5,
    )
    service.ingest(people, AS_OF)

    answer = service.post("/predict", {"user_id": "u3"}).json()
    service.move()

    (stored,) = service.rows(service.tables.predictions)
    assert (answer["features_used"], answer["user_id"]) == (rows[3], "u3")
    assert (stored["user_id"], stored["score"]) == ("u3", answer["probability"])


def test_64_bits_are_the_limit_of_an_integer_without_limits(serve: Serve, awkward_bundle: Bundle) -> None:
    """An inferred integer accepts 64 bits, and no more."""
    service = serve(awkward_bundle)

    def status(value: int) -> int:
        return int(service.post("/predict", {"features": {**awkward_row(1), "values": value}}).status_code)

    assert [status(value) for value in (-(2**63) - 1, -(2**63), 2**63 - 1, 2**63)] == [422, 200, 200, 422]


def test_a_bundle_that_scikit_learn_scores_answers_the_same_way(
    serve: Serve, sklearn_bundle: Bundle, example: Example
) -> None:
    """Without ONNX the answer has the same members, and the probability is the pipeline's."""
    service = serve(sklearn_bundle)

    answer = service.post("/predict", {"features": {**example, "plan_stream_tv": None}}).json()

    assert answer["recorded"] is True
    assert answer["probability"] == pytest.approx(sklearn_bundle.score([{**example, "plan_stream_tv": None}])[0])
