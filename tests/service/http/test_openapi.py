from __future__ import annotations

import re
from typing import Any

import pytest

from leeway.model.bundle import Bundle
from leeway.schema import CHURN_SCHEMA, INT64_MAX, INT64_MIN, Feature
from leeway.store.record import SYNTHETIC_HEADER
from service.http.schemas import prediction_models
from tests.fakes import Service
from tests.fixtures import AWKWARD_SCHEMA, Serve

TYPES = {"number": "number", "integer": "integer", "flag": "boolean", "category": "string"}


def document_of(service: Service) -> Any:  # noqa: ANN401 (JSON)
    """The OpenAPI document."""
    return service.client.get("/openapi.json").json()


def features_of(service: Service) -> dict[str, Any]:
    """What OpenAPI says of each feature."""
    return dict(document_of(service)["components"]["schemas"]["Features"]["properties"])


def inner(feature: Feature, shown: dict[str, Any]) -> dict[str, Any]:
    """The schema of the value itself, if it is nullable."""
    return dict(shown["anyOf"][0]) if feature.nullable else shown


def limits_of(feature: Feature) -> tuple[float | None, float | None]:
    """A feature's valid limits; of an integer those of 64 bits at the most."""
    if feature.kind != "integer":
        return feature.minimum, feature.maximum
    return (
        INT64_MIN if feature.minimum is None else feature.minimum,
        INT64_MAX if feature.maximum is None else feature.maximum,
    )


def test_the_docs_are_served(service: Service) -> None:
    """`/docs` is a page."""
    response = service.client.get("/docs")

    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/feedback"])
def test_the_example_works_when_tried(service: Service, path: str) -> None:
    """The example that /docs shows is answered with success, and in a batch each item is."""
    media = document_of(service)["paths"][path]["post"]["requestBody"]["content"]["application/json"]

    for each in media["examples"].values():
        response = service.post(path, each["value"])
        assert response.is_success
        assert "error" not in response.text


def test_another_models_example_works_too(serve: Serve, awkward_bundle: Bundle) -> None:
    """The example comes from the bundle, whatever its features are called."""
    service = serve(awkward_bundle)
    media = document_of(service)["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]

    assert [service.post("/predict", each["value"]).status_code for each in media["examples"].values()] == [200]


def test_an_answer_is_as_described(service: Service, bundle: Bundle) -> None:
    """It has the members that OpenAPI shows, in their order and of their types."""
    response = prediction_models(bundle.schema).response
    stated = service.client.get("/openapi.json").json()["components"]["schemas"]["PredictionResponse"]["properties"]
    for request in ({"user_id": "7590-VHVEG"}, {"features": bundle.card.example}):
        found = service.post("/predict", request).json()

        assert list(found) == list(stated)
        assert response.model_validate(found, strict=True).model_dump(by_alias=True) == found


def test_every_feature_is_shown_with_its_kind(service: Service) -> None:
    """OpenAPI has each feature of the schema, of its kind."""
    shown = features_of(service)

    assert {name: inner(CHURN_SCHEMA[name], each)["type"] for name, each in shown.items()} == {
        each.name: TYPES[each.kind] for each in CHURN_SCHEMA
    }


def test_every_feature_is_shown_with_its_unit(service: Service) -> None:
    """A feature's unit is in its description, and for programs in `x-unit`."""
    shown = features_of(service)

    assert {name: each.get("x-unit") for name, each in shown.items()} == {each.name: each.unit for each in CHURN_SCHEMA}
    assert "unit h" in shown["watch_hours_30d"]["description"]


def test_every_feature_is_shown_with_its_valid_range(service: Service) -> None:
    """OpenAPI has the valid limits, those that the schema declares."""
    shown = features_of(service)

    found = {name: (each.get("minimum"), each.get("maximum")) for name, each in shown.items()}
    assert found == {each.name: limits_of(each) for each in CHURN_SCHEMA}


def test_the_range_in_training_is_shown(service: Service) -> None:
    """The values seen in training are in the description, and do not limit valid values."""
    shown = features_of(service)

    assert "seen in training: DSL, Fiber optic, No" in shown["net_service"]["description"]
    assert "enum" not in shown["net_service"]
    assert "seen in training: 18" in shown["monthly_fee"]["description"]


def test_nullable_features_are_not_required(service: Service) -> None:
    """Nullable features are not required, all others are."""
    schema = document_of(service)["components"]["schemas"]["Features"]

    assert schema["required"] == [each.name for each in CHURN_SCHEMA if not each.nullable]
    assert schema["additionalProperties"] is False


def test_the_width_of_numbers_is_shown(serve: Serve, awkward_bundle: Bundle) -> None:
    """Integers are of 64 bits, with their exact limits, and numbers double, nullable or not."""
    shown = features_of(serve(awkward_bundle))

    for feature in AWKWARD_SCHEMA:
        if feature.kind in {"integer", "number"}:
            value = inner(feature, shown[feature.name])
            assert value["format"] == {"integer": "int64", "number": "double"}[feature.kind]
            assert (value.get("minimum"), value.get("maximum")) == limits_of(feature)


def test_the_synthetic_header_is_shown(service: Service) -> None:
    """OpenAPI has the header with its description, and it is optional."""
    (header,) = document_of(service)["paths"]["/predict"]["post"]["parameters"]

    assert (header["name"], header["in"], header["required"]) == (SYNTHETIC_HEADER, "header", False)
    assert "excluded from drift windows" in header["description"]


@pytest.mark.parametrize("path", ["/predict", "/predict/batch", "/feedback"])
def test_errors_are_shown_as_problem_documents(service: Service, path: str) -> None:
    """Every error in OpenAPI is a problem document; FastAPI's own error model is absent."""
    document = document_of(service)
    responses = document["paths"][path]["post"]["responses"]

    errors = {status: list(each["content"]) for status, each in responses.items() if status >= "400"}
    assert {"400", "413", "415", "422", "503"} <= errors.keys()
    assert all(content == ["application/problem+json"] for content in errors.values())
    assert "HTTPValidationError" not in document["components"]["schemas"]


def test_every_route_is_described(service: Service) -> None:
    """OpenAPI has all routes, each with a description."""
    paths = document_of(service)["paths"]

    assert set(paths) == {"/predict", "/predict/batch", "/feedback", "/model", "/health/live", "/health/ready"}
    assert all(operation["description"] for methods in paths.values() for operation in methods.values())


def test_operations_have_names_for_generated_clients(serve: Serve, bundle: Bundle) -> None:
    """Operation ids read well as functions."""
    document = document_of(serve(bundle, metrics_text=lambda: (b"", "text/plain")))
    ids = {operation["operationId"] for methods in document["paths"].values() for operation in methods.values()}

    predictions, operation = {"predict", "predict_batch", "send_feedback"}, {"get_model", "get_metrics"}
    assert ids == predictions | operation | {"get_liveness", "get_readiness"}


def test_exactly_one_of_user_id_and_features_is_stated(service: Service) -> None:
    """The request is one of two objects: each requires its member, and the other one may only be null."""
    schemas = document_of(service)["components"]["schemas"]
    branches = schemas["PredictRequest"]["oneOf"]

    assert [each["required"] for each in branches] == [["user_id"], ["features"]]
    assert [each["properties"]["features"].get("type") for each in branches] == ["null", None]
    assert [each["properties"]["user_id"]["type"] for each in branches] == ["string", "null"]
    assert all(each["additionalProperties"] is False for each in branches)


def test_items_of_a_batch_have_their_schema(service: Service) -> None:
    """They are those of a single request, and there are 1 to 1,000."""
    items = document_of(service)["components"]["schemas"]["BatchRequest"]["properties"]["items"]

    assert items["items"] == {"$ref": "#/components/schemas/PredictRequest"}
    assert (items["minItems"], items["maxItems"]) == (1, 1_000)


def test_metrics_are_documented_as_text(serve: Serve, bundle: Bundle) -> None:
    """`/metrics` is not JSON."""
    document = document_of(serve(bundle, metrics_text=lambda: (b"", "text/plain")))

    assert list(document["paths"]["/metrics"]["get"]["responses"]["200"]["content"]) == ["text/plain"]


def test_every_reference_resolves(service: Service) -> None:
    """Each `$ref` names a schema of the document."""
    response = service.client.get("/openapi.json")

    names = set(re.findall(r'"#/components/schemas/([^"]+)"', response.text))
    assert names <= response.json()["components"]["schemas"].keys()


def test_a_label_is_documented_as_json_writes_it(service: Service) -> None:
    """0, 1, false and true; JSON Schema takes 0.0 for 0."""
    assert document_of(service)["components"]["schemas"]["Label"]["properties"]["label"]["enum"] == [0, 1, False, True]
