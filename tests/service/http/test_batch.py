from __future__ import annotations

import json
from typing import Any

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.schema import Value
from tests.fakes import TRACE, Service
from tests.fixtures import Serve

Example = dict[str, Value]


def results(service: Service, *items: object) -> list[dict[str, Any]]:
    """The results of a batch of these items."""
    response = service.post("/predict/batch", {"items": list(items)})
    assert response.status_code == 200, response.text
    return list(response.json()["results"])


def test_customers_and_features_are_answered_in_order(service: Service, people: Population) -> None:
    """Customers and features may be mixed; the answers keep the order of the items."""
    found = results(
        service,
        {"features": people.row(30)},
        {"user_id": people.user_ids[2]},
        {"features": people.row(31)},
        {"user_id": people.user_ids[1]},
    )

    assert [each["user_id"] for each in found] == [None, people.user_ids[2], None, people.user_ids[1]]
    assert [each["features_used"] for each in found] == [people.row(place) for place in (30, 2, 31, 1)]


def test_a_batch_answers_as_single_requests_do(service: Service, people: Population) -> None:
    """The same input gets the same probability either way."""
    bodies = [{"features": people.row(place)} for place in range(20)]

    alone = [service.post("/predict", body).json()["probability"] for body in bodies]

    assert [each["probability"] for each in results(service, *bodies)] == pytest.approx(alone)


def test_an_answer_in_a_batch_has_the_members_of_a_single_one(service: Service) -> None:
    """An answer has the same members, in the same order, in a batch and alone."""
    single = service.post("/predict", {"user_id": "7590-VHVEG"}).json()
    (batched,) = results(service, {"user_id": "7590-VHVEG"})

    assert list(batched) == list(single)


def test_a_batch_is_one_look_up_and_one_call_of_the_model(service: Service, people: Population) -> None:
    """For any number of items there is one lookup and one call of the model."""
    customers = [{"user_id": people.user_ids[place]} for place in range(10)]
    results(service, *customers, *({"features": people.row(place)} for place in range(10)))

    assert [lookup.asked for lookup in service.probe.lookups] == [10]
    assert [len(scoring.unusual) for scoring in service.probe.scorings] == [20]


def test_a_thousand_items_are_answered(service: Service, example: Example) -> None:
    """A batch may have a thousand items; each is recorded with its own id."""
    found = results(service, *[{"features": example}] * 1_000)

    assert len({each["prediction_id"] for each in found}) == len(service.spooled()) == 1_000


def test_a_customer_may_be_in_a_batch_twice(service: Service) -> None:
    """A customer that is in a batch twice is answered twice, with two ids."""
    one, other = results(service, {"user_id": "7590-VHVEG"}, {"user_id": "7590-VHVEG"})

    assert one["probability"] == other["probability"]
    assert one["prediction_id"] != other["prediction_id"]


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        ({"user_id": "nobody"}, 404),
        ({}, 422),
        (None, 422),
        (3, 422),
        ("7590-VHVEG", 422),
        ([], 422),
        ({"user_id": 7590}, 422),
        ({"user_id": "7590-VHVEG", "features": {}}, 422),
        ({"features": {"monthly_fee": -1}}, 422),
        ({"user_id": "7590-VHVEG", "other": 1}, 422),
    ],
)
def test_an_invalid_item_fails_alone(service: Service, bad: object, status: int) -> None:
    """An item that cannot be answered has a problem document; the others are answered."""
    before, failed, after = results(service, {"user_id": "7590-VHVEG"}, bad, {"user_id": "7590-VHVEG"})

    assert before["recorded"] is after["recorded"] is True
    assert list(failed) == ["error"]
    assert (failed["error"]["status"], failed["error"]["trace_id"]) == (status, TRACE.trace_id)


def test_an_items_problem_names_its_fields(service: Service, example: Example) -> None:
    """The fields are named within the item, as they are for a single request."""
    (failed,) = results(service, {"features": {**example, "skips_7d": -1}})

    assert failed["error"]["errors"] == [{"field": "features.skips_7d", "reason": "must be at least 0"}]


def test_an_item_that_is_not_an_object_is_named(service: Service) -> None:
    """If the item itself is invalid the problem says so."""
    (failed,) = results(service, 3)

    assert failed["error"]["detail"] == "Invalid input: item must be a JSON object."


def test_a_lone_surrogate_in_one_item_fails_alone(service: Service, example: Example) -> None:
    """Invalid Unicode in a value or a name does not affect the other items."""
    items = [r'{"user_id": "\ud800"}', r'{"\ud800": 1}', r'{"features": {"\ud800": 1}}']
    body = f'{{"items": [{", ".join(items)}, {json.dumps({"features": example})}]}}'

    found = service.post_raw("/predict/batch", body.encode()).json()["results"]

    assert [each.get("error", {}).get("status") for each in found] == [422, 422, 422, None]


def test_rejected_items_are_counted(service: Service, example: Example) -> None:
    """Each rejected item is counted by feature and reason, as a single request is."""
    results(service, {"features": {**example, "skips_7d": -1}}, {"features": {**example, "skips_7d": "1"}})

    assert service.probe.rejections == [("skips_7d", "out_of_range"), ("skips_7d", "wrong_type")]


def test_a_batch_without_a_valid_item_is_answered(service: Service) -> None:
    """A batch in which no item can be answered is answered; nothing is scored or recorded."""
    found = results(service, {}, {"user_id": "nobody"})

    assert [each["error"]["status"] for each in found] == [422, 404]
    assert (service.probe.scorings, service.spooled()) == ([], [])


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"items": []}, "must not be empty"),
        ({"items": [{}] * 1_001}, "must contain at most 1000 items"),
        ({}, "is missing"),
        ({"items": {"user_id": "7590-VHVEG"}}, "must be a list"),
        ({"items": "7590-VHVEG"}, "must be a list"),
        ({"items": None}, "must not be null"),
    ],
)
def test_a_batch_holds_1_to_1000_items(service: Service, body: dict[str, Any], reason: str) -> None:
    """Too few, too many and something other than a list are rejected as a whole."""
    response = service.post("/predict/batch", body)

    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": "items", "reason": reason}]


def test_an_unknown_member_of_a_batch_is_rejected(service: Service) -> None:
    """A member other than `items` is not ignored."""
    response = service.post("/predict/batch", {"items": [{"user_id": "7590-VHVEG"}], "fast": True})

    assert response.json()["errors"] == [{"field": "fast", "reason": "is unknown: remove it"}]


def test_without_the_snapshot_store_only_customers_fail(service: Service, example: Example) -> None:
    """While the database is unreachable each customer's item is 503, and features are answered."""
    service.lose_database()

    customer, features = results(service, {"user_id": "7590-VHVEG"}, {"features": example})

    assert (customer["error"]["status"], features["recorded"]) == (503, True)


def test_without_snapshots_each_customer_fails(serve: Serve, bundle: Bundle, example: Example) -> None:
    """If nothing was ingested each customer's item says so, and features are answered."""
    customer, features = results(serve(bundle), {"user_id": "7590-VHVEG"}, {"features": example})

    assert (customer["error"]["type"], features["recorded"]) == ("urn:leeway:problem:no-snapshots", True)


def test_a_bundle_that_scikit_learn_scores_takes_batches(
    serve: Serve, sklearn_bundle: Bundle, people: Population
) -> None:
    """Without ONNX a batch is scored in one call, too."""
    service = serve(sklearn_bundle)
    rows = [people.row(place) for place in range(10)]

    found = results(service, *({"features": row} for row in rows))

    assert [each["probability"] for each in found] == pytest.approx(sklearn_bundle.score(rows).tolist())
    assert len(service.probe.scorings) == 1
