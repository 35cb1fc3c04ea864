from __future__ import annotations

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.schema import Value
from tests.conftest import AS_OF, AWKWARD_SCHEMA, Serve, awkward_row

Example = dict[str, Value]


@pytest.mark.parametrize("place", range(0, 90, 9))
def test_any_feature_name_that_a_schema_allows_works(serve: Serve, awkward_bundle: Bundle, place: int) -> None:
    """Names with spaces and dots, and names that are taken elsewhere, go in and come out as they are."""
    row = awkward_row(place)

    answer = serve(awkward_bundle).post("/predict", {"features": row}).json()

    assert answer["features_used"] == row
    assert answer["probability"] == pytest.approx(awkward_bundle.score([row])[0])


def test_awkward_names_are_named_in_refusals(serve: Serve, awkward_bundle: Bundle) -> None:
    """A refusal names an awkward feature by its own name, and counts it under it."""
    service = serve(awkward_bundle)

    response = service.post("/predict", {"features": {**awkward_row(1), "_private name": -6, "a.b-c": 1}})

    assert {each["field"] for each in response.json()["errors"]} == {"features._private name", "features.a.b-c"}
    assert service.probe.rejections == [("_private name", "out_of_range"), ("a.b-c", "wrong_type")]


def test_awkward_names_reach_the_database(serve: Serve, awkward_bundle: Bundle) -> None:
    """A customer of another schema is looked up, answered and stored; features called as our columns are kept apart."""
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
    """An inferred integer takes all of 64 bits, and not one more."""
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
