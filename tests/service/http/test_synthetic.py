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
    """Ask for a prediction with this mark."""
    return service.client.post("/predict", json=body, headers={SYNTHETIC_HEADER: mark})


@pytest.mark.parametrize(("mark", "is_synthetic"), [("true", True), ("1", True), ("false", False)])
def test_a_check_is_recorded_as_one(service: Service, example: Example, mark: str, *, is_synthetic: bool) -> None:
    """The mark of the request is in the record, and so in the spool and in the database."""
    answered = ask(service, {"features": example}, mark).json()
    assert [record.is_synthetic for record in service.spooled()] == [is_synthetic]
    service.move()
    (row,) = service.rows(service.tables.predictions)
    assert (row["prediction_id"], row["is_synthetic"]) == (answered["prediction_id"], is_synthetic)


def test_a_customer_can_be_asked_for_as_a_check(service: Service) -> None:
    """The mark goes with either way of asking."""
    assert ask(service, {"user_id": CUSTOMER}, "true").json()["user_id"] == CUSTOMER
    assert [record.is_synthetic for record in service.spooled()] == [True]


@pytest.mark.parametrize(("mark", "is_synthetic"), [("true", True), ("1", True), ("false", False)])
def test_the_mark_of_a_batch_is_on_every_item(
    service: Service, example: Example, mark: str, *, is_synthetic: bool
) -> None:
    """Customers and features, beside an item that is refused: what is recorded of them bears the batch's mark."""
    items = [{"features": example}, {}, {"user_id": CUSTOMER}]
    service.client.post("/predict/batch", json={"items": items}, headers={SYNTHETIC_HEADER: mark})
    assert [record.is_synthetic for record in service.spooled()] == [is_synthetic, is_synthetic]


def test_a_batch_of_checks_is_answered_as_any_other(service: Service, example: Example) -> None:
    """The careful way, which the mark takes, answers as the quick one does."""
    body = {"items": [{"features": example}, {"user_id": CUSTOMER}]}
    marked = service.client.post("/predict/batch", json=body, headers={SYNTHETIC_HEADER: "true"}).json()["results"]
    plain = service.post("/predict/batch", body).json()["results"]
    assert [each | {"prediction_id": ""} for each in marked] == [each | {"prediction_id": ""} for each in plain]


BAD_BODIES: dict[str, tuple[str, bytes]] = {
    "a bad feature": ("/predict", b'{"features": {"monthly_fee": -1}}'),
    "no JSON": ("/predict", b"{"),
    "no UTF-8": ("/predict", b'{"user_id": "\xff"}'),
    "a batch of none": ("/predict/batch", b'{"items": []}'),
    "an item of a batch": ("/predict/batch", b'{"items": [{}]}'),
}


@pytest.mark.parametrize("case", BAD_BODIES)
@pytest.mark.parametrize(("mark", "is_synthetic"), [("true", True), ("ON", True), ("0", False), ("perhaps", False)])
def test_a_refused_check_is_told_as_one(service: Service, case: str, mark: str, *, is_synthetic: bool) -> None:
    """The verdict on quality leaves it out, however it was refused; a mark that is none hides nothing."""
    path, body = BAD_BODIES[case]
    service.client.post(path, content=body, headers={SYNTHETIC_HEADER: mark, "content-type": "application/json"})
    assert (bool(service.probe.synthetic_rejections), bool(service.probe.rejections)) == (
        is_synthetic,
        not is_synthetic,
    )
    assert bool(service.tally._counts) is not is_synthetic


def test_what_bears_no_mark_was_wanted(service: Service, example: Example) -> None:
    """Single or in a batch, every other prediction counts."""
    service.post("/predict", {"features": example})
    service.post("/predict/batch", {"items": [{"features": example}, {"user_id": CUSTOMER}]})
    assert [record.is_synthetic for record in service.spooled()] == [False, False, False]


def test_a_check_is_answered_as_any_other(service: Service, example: Example) -> None:
    """Nothing in the answer but its ids is different: what works for a check works for everybody."""
    marked, plain = ask(service, {"features": example}, "true"), service.post("/predict", {"features": example})
    assert marked.status_code == plain.status_code == 200
    assert marked.json() | {"prediction_id": ""} == plain.json() | {"prediction_id": ""}


def test_a_mark_that_is_none_is_refused(service: Service, example: Example) -> None:
    """Neither true nor false: whoever sends it would not get what they meant."""
    response = ask(service, {"features": example}, "perhaps")
    assert response.status_code == 422
    assert response.json()["errors"] == [{"field": SYNTHETIC_HEADER, "reason": "must be true or false"}]


def test_a_bad_check_is_refused_as_any_other(service: Service, example: Example) -> None:
    """The mark opens no way round validation."""
    response = ask(service, {"features": example | {"monthly_fee": -1}}, "true")
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "features.monthly_fee"
