"""Synthetic requests: served, measured and stored like all others, and marked."""

from __future__ import annotations

from typing import Any

import pytest

from leeway.schema import Value
from leeway.store.record import SYNTHETIC_HEADER
from tests.fakes import Service

Example = dict[str, Value]
CUSTOMER = "7590-VHVEG"


def ask(service: Service, body: dict[str, Any], mark: str) -> Any:  # noqa: ANN401 (the client's response)
    """Send a request with this value of the header."""
    return service.client.post("/predict", json=body, headers={SYNTHETIC_HEADER: mark})


@pytest.mark.parametrize(("mark", "is_synthetic"), [("true", True), ("1", True), ("false", False)])
def test_a_synthetic_request_is_recorded(service: Service, example: Example, mark: str, *, is_synthetic: bool) -> None:
    """The header's value is in the record, in the spool and in the database."""
    answered = ask(service, {"features": example}, mark).json()
    assert [record.is_synthetic for record in service.spooled()] == [is_synthetic]
    service.move()
    (row,) = service.rows(service.tables.predictions)
    assert (row["prediction_id"], row["is_synthetic"]) == (answered["prediction_id"], is_synthetic)


def test_a_request_for_a_customer_can_be_synthetic(service: Service) -> None:
    """The header works with a `user_id`, too."""
    assert ask(service, {"user_id": CUSTOMER}, "true").json()["user_id"] == CUSTOMER
    assert [record.is_synthetic for record in service.spooled()] == [True]


@pytest.mark.parametrize(("mark", "is_synthetic"), [("true", True), ("1", True), ("false", False)])
def test_the_header_marks_every_item_of_a_batch(
    service: Service, example: Example, mark: str, *, is_synthetic: bool
) -> None:
    """Records of customers and of features are marked, also next to a rejected item."""
    items = [{"features": example}, {}, {"user_id": CUSTOMER}]
    service.client.post("/predict/batch", json={"items": items}, headers={SYNTHETIC_HEADER: mark})
    assert [record.is_synthetic for record in service.spooled()] == [is_synthetic, is_synthetic]


def test_a_synthetic_batch_is_answered_like_any_other(service: Service, example: Example) -> None:
    """FastAPI's path, which reads the header, answers like the fast path."""
    body = {"items": [{"features": example}, {"user_id": CUSTOMER}]}
    marked = service.client.post("/predict/batch", json=body, headers={SYNTHETIC_HEADER: "true"}).json()["results"]
    plain = service.post("/predict/batch", body).json()["results"]
    assert [each | {"prediction_id": ""} for each in marked] == [each | {"prediction_id": ""} for each in plain]


BAD_BODIES: dict[str, tuple[str, bytes]] = {
    "a bad feature": ("/predict", b'{"features": {"monthly_fee": -1}}'),
    "not JSON": ("/predict", b"{"),
    "not UTF-8": ("/predict", b'{"user_id": "\xff"}'),
    "an empty batch": ("/predict/batch", b'{"items": []}'),
    "an item of a batch": ("/predict/batch", b'{"items": [{}]}'),
}


@pytest.mark.parametrize("case", BAD_BODIES)
@pytest.mark.parametrize(("mark", "is_synthetic"), [("true", True), ("ON", True), ("0", False), ("perhaps", False)])
def test_a_rejected_one_is_not_tallied(service: Service, case: str, mark: str, *, is_synthetic: bool) -> None:
    """The verdict on data quality ignores it, for every kind of rejection; an invalid header hides nothing."""
    path, body = BAD_BODIES[case]
    service.client.post(path, content=body, headers={SYNTHETIC_HEADER: mark, "content-type": "application/json"})
    assert (bool(service.probe.synthetic_rejections), bool(service.probe.rejections)) == (
        is_synthetic,
        not is_synthetic,
    )
    assert bool(service.tally._counts) is not is_synthetic


def test_without_the_header_requests_are_not_synthetic(service: Service, example: Example) -> None:
    """All other predictions count, single or in a batch."""
    service.post("/predict", {"features": example})
    service.post("/predict/batch", {"items": [{"features": example}, {"user_id": CUSTOMER}]})
    assert [record.is_synthetic for record in service.spooled()] == [False, False, False]


def test_a_synthetic_request_is_answered_like_any_other(service: Service, example: Example) -> None:
    """Only the ids of the answers differ."""
    marked, plain = ask(service, {"features": example}, "true"), service.post("/predict", {"features": example})
    assert marked.status_code == plain.status_code == 200
    assert marked.json() | {"prediction_id": ""} == plain.json() | {"prediction_id": ""}


def test_an_invalid_header_is_rejected(service: Service, example: Example) -> None:
    """A value that is neither true nor false is a 422 problem."""
    response = ask(service, {"features": example}, "perhaps")
    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": SYNTHETIC_HEADER, "reason": "must be true or false"}]


def test_an_invalid_synthetic_request_is_rejected(service: Service, example: Example) -> None:
    """The header does not bypass validation."""
    response = ask(service, {"features": example | {"monthly_fee": -1}}, "true")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "features.monthly_fee"
