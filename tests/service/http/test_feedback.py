from __future__ import annotations

import json
from typing import Any

import pytest

from leeway.schema import Value
from tests.fakes import Service

ID = "01a20733-8e39-71aa-9fec-4c4f5f21ed60"
OTHER_ID = "01a20733-8e39-71ab-9fec-4c4f5f21ed60"


def send(service: Service, *items: object) -> Any:  # noqa: ANN401 (the client's response)
    """POST these labels."""
    return service.post("/feedback", {"items": list(items)})


def labels(service: Service) -> dict[str, int]:
    """The labels in the database, by prediction id."""
    return {row["prediction_id"]: row["label"] for row in service.rows(service.tables.prediction_labels)}


def test_labels_are_accepted_and_stored(service: Service) -> None:
    """202, how many were taken, and they are in the database."""
    response = send(service, {"prediction_id": ID, "label": 1}, {"prediction_id": OTHER_ID, "label": 0})

    assert (response.status_code, response.json()) == (202, {"accepted": 2})
    assert labels(service) == {ID: 1, OTHER_ID: 0}


def test_a_label_finds_its_prediction(service: Service, example: dict[str, Value]) -> None:
    """The id of an answer is the id under which its label is stored, moved or not."""
    prediction_id = service.post("/predict", {"features": example}).json()["prediction_id"]
    send(service, {"prediction_id": prediction_id, "label": 1})
    service.move()

    (row,) = service.rows(service.tables.predictions)
    assert labels(service) == {row["prediction_id"]: 1}


def test_the_last_label_wins(service: Service) -> None:
    """A label sent again takes the place of the one before, in one request and across requests."""
    send(service, {"prediction_id": ID, "label": 0}, {"prediction_id": ID, "label": 1})
    first = labels(service)
    send(service, {"prediction_id": ID, "label": 0})

    assert (first, labels(service)) == ({ID: 1}, {ID: 0})


@pytest.mark.parametrize("text", [ID.upper(), ID.replace("-", ""), f"urn:uuid:{ID}"])
def test_an_id_is_the_same_however_it_is_written(service: Service, text: str) -> None:
    """Every form of a UUID is stored in the one form that answers have."""
    send(service, {"prediction_id": text, "label": 1})

    assert labels(service) == {ID: 1}


@pytest.mark.parametrize("prediction_id", ["7590-VHVEG", "", 5, None, True, [ID], ID + "0", "\ud800"])
def test_what_is_no_id_is_rejected(service: Service, prediction_id: object) -> None:
    """An id that no answer can have had is rejected, and nothing is stored."""
    body = json.dumps({"items": [{"prediction_id": prediction_id, "label": 1}]})

    response = service.post_raw("/feedback", body.encode())

    assert (response.status_code, labels(service)) == (422, {})
    assert response.json()["errors"][0]["field"] == "items.0.prediction_id"


@pytest.mark.parametrize("label", [2, -1, 0.5, "1", "true", None, [], {}, 10**40, 10**400])
def test_an_invalid_label_is_rejected(service: Service, label: object) -> None:
    """Anything but 0, 1, true and false is rejected, and nothing is stored."""
    response = send(service, {"prediction_id": ID, "label": label})

    assert (response.status_code, labels(service)) == (422, {})
    assert response.json()["errors"] == [{"field": "items.0.label", "reason": "must be 0, 1, true or false"}]


@pytest.mark.parametrize("label", [0, 1, 0.0, 1.0, -0.0, False, True])
def test_a_label_is_0_or_1_however_json_writes_it(service: Service, label: float) -> None:
    """JSON has one kind of number, and clients send booleans: all are stored as 0 or 1."""
    assert send(service, {"prediction_id": ID, "label": label}).status_code == 202
    assert repr(labels(service)) == repr({ID: int(label)})


def test_one_bad_label_rejects_them_all(service: Service) -> None:
    """Labels are taken together or not at all; the one at fault is named by its place."""
    response = send(service, {"prediction_id": ID, "label": 1}, {"prediction_id": OTHER_ID, "label": 7})

    assert (labels(service), response.json()["detail"]) == (
        {},
        "Invalid input: items.1.label must be 0, 1, true or false.",
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "items"),
        ({"items": []}, "items"),
        ({"items": [{"prediction_id": ID, "label": 1}] * 1_001}, "items"),
        ({"items": [{"prediction_id": ID}]}, "items.0.label"),
        ({"items": [{"label": 1}]}, "items.0.prediction_id"),
        ({"items": [{"prediction_id": ID, "label": 1, "note": "left"}]}, "items.0.note"),
        ({"items": [5]}, "items.0"),
        ({"items": [{"prediction_id": ID, "label": 1}], "source": "crm"}, "source"),
    ],
)
def test_other_shapes_are_rejected(service: Service, body: dict[str, Any], field: str) -> None:
    """Too few, too many, half a label and unknown members are rejected, each by its field."""
    response = service.post("/feedback", body)

    assert (response.status_code, [each["field"] for each in response.json()["errors"]]) == (422, [field])


def test_without_the_database_labels_are_rejected(service: Service) -> None:
    """While the database is unreachable the answer is 503 and says to send the labels again; later they are stored."""
    service.lose_database()
    response = send(service, {"prediction_id": ID, "label": 1})
    service.find_database()
    send(service, {"prediction_id": ID, "label": 1})

    assert (response.status_code, response.json()["type"]) == (503, "urn:leeway:problem:label-store-down")
    assert "send them again" in response.json()["detail"]
    assert labels(service) == {ID: 1}
