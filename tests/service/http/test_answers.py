from __future__ import annotations

from typing import Any

import pytest

from leeway.schema import Label, Target
from tests.datasets import BREAST, DIABETES, DIGITS, REAL, WINE
from tests.fakes import Service
from tests.fixtures import RealBundle, Serve

EACH = pytest.mark.parametrize("name", REAL)
SHARE = {"type": "number", "minimum": 0, "maximum": 1}
OTHERS: dict[str, list[Any]] = {
    "breast_cancer": ["Malignant", "", 1, True, None],
    "wine": ["barbera", 0, None],
    "digits": [10, 1.5, "1", True, None],
    "diabetes": ["151", True, None, 10**400],
}
"""Values that are not labels of the target."""


def answered(service: Service) -> dict[str, Any]:
    """The answer to the card's example."""
    answer: dict[str, Any] = service.post("/predict", {"features": service.bundle.card.example}).json()
    return answer


def members(service: Service, model: str) -> dict[str, Any]:
    """The members of a model in the OpenAPI document, without their texts."""
    found = service.client.get("/openapi.json").json()["components"]["schemas"][model]["properties"]
    texts = {"description", "title"}
    return {name: {key: value for key, value in each.items() if key not in texts} for name, each in found.items()}


@EACH
def test_the_answer_is_that_of_the_task(name: str, real_bundle: RealBundle, serve: Serve) -> None:
    """A class and its probability, a class and those of all classes, or a number; single and in a batch."""
    service = serve(real_bundle(name))
    target, answer = service.bundle.schema.target, answered(service)
    output = service.bundle.score([service.bundle.card.example])[0]
    (again,) = service.post("/predict/batch", {"items": [{"features": service.bundle.card.example}]}).json()["results"]
    if target.task == "regression":
        assert answer["prediction"] == again["prediction"] == pytest.approx(output)
        assert not {"probability", "probabilities"} & answer.keys()
    elif target.task == "binary":
        assert (answer["probability"], again["probability"]) == (pytest.approx(output), pytest.approx(output))
        assert answer["prediction"] == target.negative_and_positive[int(output >= 0.5)]
    else:
        shares = answer["probabilities"]
        assert (
            shares == again["probabilities"] == dict(zip(target.class_names, map(pytest.approx, output), strict=True))
        )
        assert str(answer["prediction"]) == max(shares, key=shares.__getitem__)
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("breast_cancer", {"prediction": {"enum": ["benign", "malignant"]}, "probability": SHARE}),
        ("diabetes", {"prediction": {"type": "number", "format": "double"}}),
        (
            "wine",
            {
                "prediction": {"enum": list(WINE.classes)},
                "probabilities": {
                    "type": "object",
                    "properties": dict.fromkeys(WINE.class_names, SHARE),
                    "required": list(WINE.class_names),
                    "additionalProperties": False,
                },
            },
        ),
    ],
)
def test_openapi_states_the_answer(name: str, expected: dict[str, Any], real_bundle: RealBundle, serve: Serve) -> None:
    """The document has the members of the bundle's task, exactly, and the answer has all of its members."""
    service = serve(real_bundle(name))
    stated = members(service, "PredictionResponse")
    assert {key: stated.get(key) for key in ("prediction", "probability", "probabilities")} == {
        "probability": None,
        "probabilities": None,
        **expected,
    }
    assert list(stated) == list(answered(service))


@pytest.mark.parametrize(
    ("target", "label"),
    [(BREAST, "malignant"), (WINE, "barolo"), (DIGITS, 3), (DIABETES, 151.0)],
    ids=["breast_cancer", "wine", "digits", "diabetes"],
)
def test_labels_are_of_the_targets_kind(
    target: Target, label: Label, request: pytest.FixtureRequest, real_bundle: RealBundle, serve: Serve
) -> None:
    """A label is stored as the target has it, and anything else is rejected with what a label is."""
    name = request.node.callspec.id
    service = serve(real_bundle(name))
    place = answered(service)["prediction_id"]
    assert service.post("/feedback", {"items": [{"prediction_id": place, "label": label}]}).status_code == 202
    (stored,) = service.rows(service.tables.prediction_labels)
    assert (stored["label"], type(stored["label"])) == (label, type(label))
    stated = members(service, "Label")["label"]
    assert stated == ({"enum": list(target.classes)} if target.classes else {"type": "number", "format": "double"})
    for other in OTHERS[name]:
        reply = service.post("/feedback", {"items": [{"prediction_id": place, "label": other}]})
        assert reply.status_code in {400, 422}, other


@EACH
def test_predictions_are_stored_with_their_columns(name: str, real_bundle: RealBundle, serve: Serve) -> None:
    """The database has score, prediction, and the probability of each of several classes."""
    service = serve(real_bundle(name))
    target, answer = service.bundle.schema.target, answered(service)
    service.move()
    (row,) = service.rows(service.tables.predictions)
    assert row["prediction"] == answer["prediction"]
    shares = {key: value for key, value in row.items() if key.startswith("probability_")}
    if target.task == "multiclass":
        assert list(shares.values()) == list(answer["probabilities"].values())
        assert row["score"] == max(shares.values())
    else:
        assert shares == {}
        assert row["score"] == (answer["probability"] if target.task == "binary" else answer["prediction"])
