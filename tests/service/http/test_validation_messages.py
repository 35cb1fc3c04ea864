"""Why an input is rejected: messages and counted reasons."""

from __future__ import annotations

import json
from typing import Any

import pytest

from leeway.schema import INT64_MAX, Value
from tests.fakes import Service

Example = dict[str, Value]
NESTED = b'{"features":' * 5_000 + b"1" + b"}" * 5_000


def with_literal(example: Example, name: str, literal: str) -> bytes:
    """A request body in which feature `name` is this JSON text."""
    others = {other: value for other, value in example.items() if other != name}
    return f'{{"features": {{"{name}": {literal}, {json.dumps(others)[1:]}}}'.encode()


def only_error(response: Any) -> dict[str, str]:  # noqa: ANN401 (the client's response)
    """The one field that a 422 names."""
    assert response.status_code == 422, response.text
    (error,) = response.json()["errors"]
    return dict(error)


def feature_error(service: Service, example: Example, **changes: object) -> dict[str, str]:
    """The one invalid field of a request with these changes."""
    return only_error(service.post("/predict", {"features": {**example, **changes}}))


# --- rejections of the whole ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [{}, {"user_id": None}, {"user_id": "7590-VHVEG", "features": "example"}])
def test_exactly_one_of_customer_and_features(service: Service, example: Example, body: dict[str, Any]) -> None:
    """Neither and both are rejected, and the reason says what is required."""
    error = only_error(service.post("/predict", body | ({"features": example} if "features" in body else {})))

    assert error == {"field": "body", "reason": "must contain exactly one of user_id and features"}


@pytest.mark.parametrize("body", ["null", "[]", "3", '"text"', "true"])
def test_the_body_must_be_an_object(service: Service, body: str) -> None:
    """JSON other than an object is rejected."""
    reason = only_error(service.post_raw("/predict", body.encode()))["reason"]

    assert reason in {"must be a JSON object", "must not be null"}


def test_an_unknown_member_is_rejected(service: Service) -> None:
    """A misspelt member is not ignored."""
    error = only_error(service.post("/predict", {"user_id": "7590-VHVEG", "costumer": 1}))

    assert error == {"field": "costumer", "reason": "is unknown: remove it"}


def test_an_unknown_feature_is_rejected(service: Service, example: Example) -> None:
    """A feature that the model does not take is rejected, by its name."""
    assert feature_error(service, example, shoe_size=43)["field"] == "features.shoe_size"


def test_internal_field_names_are_not_features(service: Service, example: Example) -> None:
    """The attribute names of the pydantic model are not accepted."""
    assert feature_error(service, example, f0=1)["field"] == "features.f0"


def test_every_invalid_field_is_named(service: Service, example: Example) -> None:
    """The answer lists all errors at once, each with its field."""
    del example["monthly_fee"]
    response = service.post("/predict", {"features": {**example, "skips_7d": -1, "net_service": 5}})

    assert {(each["field"], each["reason"]) for each in response.json()["errors"]} == {
        ("features.monthly_fee", "is missing"),
        ("features.skips_7d", "must be at least 0"),
        ("features.net_service", "must be a string"),
    }


def test_the_detail_says_what_to_do(service: Service, example: Example) -> None:
    """The detail alone says what to change."""
    detail = service.post("/predict", {"features": {**example, "skips_7d": -1}}).json()["detail"]

    assert detail == "Invalid input: features.skips_7d must be at least 0."


def test_many_unknown_names_have_a_short_answer(service: Service, example: Example) -> None:
    """Ten thousand unknown names are counted as one rejection, and the answer stays short."""
    flood = {f"x{place}": 1 for place in range(10_000)}

    response = service.post("/predict", {"features": {**example, **flood}})

    assert (len(response.json()["errors"]), service.probe.rejections) == (100, [(None, "unknown")])
    assert response.json()["detail"].endswith("and 9995 more.")


# --- rejections of a value --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("monthly_fee", "60", "must be a number"),
        ("monthly_fee", True, "must be a number"),
        ("monthly_fee", [60], "must be a number"),
        ("monthly_fee", None, "must not be null"),
        ("monthly_fee", -0.01, "must be at least 0"),
        ("watch_hours_30d", 720.5, "must be at most 720"),
        ("monthly_fee", 10**400, "must be a finite number"),
        ("skips_7d", "5", "must be an integer"),
        ("skips_7d", True, "must be an integer"),
        ("skips_7d", 1.5, "must be an integer"),
        ("skips_7d", INT64_MAX + 1, "must be at most 9223372036854775807"),
        ("skips_7d", 10**30, "must be at most 9223372036854775807"),
        ("months_active", 1_201, "must be at most 1200"),
        ("paperless_billing", 1, "must be true or false"),
        ("paperless_billing", "true", "must be true or false"),
        ("plan_stream_tv", "yes", "must be true or false"),
        ("net_service", 5, "must be a string"),
        ("net_service", "", "must not be empty"),
        ("net_service", "x" * 201, "must be at most 200 characters long"),
    ],
)
def test_an_invalid_value_is_named(service: Service, example: Example, name: str, value: object, reason: str) -> None:
    """A value that is not valid is rejected with its field and a reason; nothing is converted to another kind."""
    assert feature_error(service, example, **{name: value}) == {"field": f"features.{name}", "reason": reason}


@pytest.mark.parametrize("literal", ["40.0", "4e1", "40"])
def test_an_integer_may_have_a_decimal_point(service: Service, example: Example, literal: str) -> None:
    """JSON has one kind of number: 40.0 is an integer, and is used as 40, alone and in a batch."""
    item = with_literal(example, "skips_7d", literal)
    alone = service.post_raw("/predict", item).json()
    (in_batch,) = service.post_raw("/predict/batch", b'{"items": [' + item + b"]}").json()["results"]

    assert [repr(each["features_used"]["skips_7d"]) for each in (alone, in_batch)] == ["40", "40"]


def test_a_required_feature_may_not_be_missing(service: Service, example: Example) -> None:
    """A feature that is not nullable is required."""
    del example["months_active"]

    response = service.post("/predict", {"features": example})

    assert only_error(response) == {"field": "features.months_active", "reason": "is missing"}


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400"])
def test_nan_and_infinity_are_rejected(service: Service, example: Example, literal: str) -> None:
    """NaN and infinity are rejected in every notation."""
    response = service.post_raw("/predict", with_literal(example, "monthly_fee", literal))

    assert only_error(response) == {"field": "features.monthly_fee", "reason": "must be a finite number"}


@pytest.mark.parametrize("name", ["monthly_fee", "skips_7d", "net_service", "paperless_billing"])
def test_a_number_of_four_thousand_digits_is_rejected(service: Service, example: Example, name: str) -> None:
    """A huge integer is rejected with the name of the feature, for every kind."""
    response = service.post_raw("/predict", with_literal(example, name, "9" * 4_000))

    assert only_error(response)["field"] == f"features.{name}"


def test_a_number_of_a_hundred_thousand_digits_is_400(service: Service, example: Example) -> None:
    """Python cannot read such a number; the detail says so."""
    response = service.post_raw("/predict", with_literal(example, "skips_7d", "9" * 100_000))

    assert (response.status_code, "thousands of digits" in response.json()["detail"]) == (400, True)


@pytest.mark.parametrize(
    "text", [r"\ud800", r"a\udfffb", r"\u0000", r"a\u0000", r"a\nb", r"\u001f", r"\u007f", r"\u0085"]
)
@pytest.mark.parametrize("place", ["user_id", "net_service"])
def test_text_that_databases_reject_is_rejected(service: Service, example: Example, text: str, place: str) -> None:
    """Lone surrogates, NUL and control characters are rejected with 422, in ids and in categories."""
    body = with_literal(example, place, f'"{text}"') if place == "net_service" else f'{{"user_id": "{text}"}}'.encode()

    error = only_error(service.post_raw("/predict", body))

    assert error["field"].endswith(place)


@pytest.mark.parametrize("body", [rb'{"\ud800": 1}', rb'{"features": {"\ud800": 1}}'])
def test_a_name_with_a_lone_surrogate_is_rejected(service: Service, body: bytes) -> None:
    """A name that is not valid Unicode is rejected with 422."""
    assert only_error(service.post_raw("/predict", body))["reason"] == "must be valid Unicode"


@pytest.mark.parametrize("value", ["", "x" * 129, 7590, True, ["7590-VHVEG"]])
def test_a_user_id_is_a_short_text(service: Service, value: object) -> None:
    """An id that is empty, too long or not a string is rejected."""
    assert only_error(service.post("/predict", {"user_id": value}))["field"] == "user_id"


@pytest.mark.parametrize("value", ["é", "名前", "\U0001f600", "a b", "x" * 128, "'; DROP TABLE predictions; --"])
def test_any_other_text_is_a_user_id(service: Service, value: str) -> None:
    """An id in any script is looked up, and unknown."""
    assert service.post("/predict", {"user_id": value}).status_code == 404


# --- what is counted --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"monthly_fee": -1}, ("monthly_fee", "out_of_range")),
        ({"monthly_fee": 10**400}, ("monthly_fee", "out_of_range")),
        ({"skips_7d": INT64_MAX + 1}, ("skips_7d", "out_of_range")),
        ({"monthly_fee": "1"}, ("monthly_fee", "wrong_type")),
        ({"monthly_fee": None}, ("monthly_fee", "missing")),
        ({"shoe_size": 43}, (None, "unknown")),
    ],
)
def test_a_rejection_is_counted_by_feature_and_reason(
    service: Service, example: Example, changes: dict[str, object], expected: tuple[str | None, str]
) -> None:
    """The probe gets the invalid feature and the reason; an unknown name is not passed on."""
    service.post("/predict", {"features": {**example, **changes}})

    assert service.probe.rejections == [expected]


def test_a_missing_feature_is_counted_as_missing(service: Service, example: Example) -> None:
    """A feature that was left out is counted under its name."""
    del example["skips_7d"]
    service.post("/predict", {"features": example})

    assert service.probe.rejections == [("skips_7d", "missing")]


@pytest.mark.parametrize("body", [b"{", b'{"user_id": "\xff"}', NESTED])
def test_malformed_json_is_counted(service: Service, body: bytes) -> None:
    """A body that is not JSON is counted as malformed, once."""
    service.post_raw("/predict", body)

    assert service.probe.rejections == [(None, "malformed")]


def test_feedback_is_not_counted_as_a_rejected_prediction(service: Service) -> None:
    """A rejected label says nothing about features."""
    service.post("/feedback", {"items": [{"label": 5}]})
    service.post_raw("/feedback", b"{")

    assert service.probe.rejections == []
