from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from leeway.schema import (
    CHURN_SCHEMA,
    LABEL_COLUMN,
    SCORE_COLUMN,
    Feature,
    FeatureSchema,
    SchemaError,
    Seen,
    Value,
)

ALL_KINDS = FeatureSchema(
    (
        Feature("amount", "number", "EUR", minimum=0, maximum=100, nullable=True),
        Feature("count", "integer"),
        Feature("open", "flag"),
        Feature("colour", "category"),
    )
)
ROW: dict[str, Value] = {"amount": 1.5, "count": 2, "open": True, "colour": "red"}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("amount", "1.5", "must be a number"),
        ("amount", True, "must be a number"),
        ("amount", float("nan"), "must be a finite number"),
        ("amount", float("inf"), "must be a finite number"),
        ("amount", 10**400, "must be a finite number"),
        ("amount", -0.1, "must be at least 0"),
        ("amount", 100.5, "must be at most 100"),
        ("count", 2.5, "must be a whole number"),
        ("count", "2", "must be a whole number"),
        ("count", float("nan"), "must be a whole number"),
        ("count", float("inf"), "must be a whole number"),
        ("count", 1e300, "must fit in 64 bits"),
        ("count", 2.0**63, "must fit in 64 bits"),
        ("count", False, "must be a whole number"),
        ("count", 2**63, "must fit in 64 bits"),
        ("count", -(2**63) - 1, "must fit in 64 bits"),
        ("count", None, "must not be missing"),
        ("open", 1, "must be true or false"),
        ("open", "true", "must be true or false"),
        ("colour", 5, "must be text"),
        ("colour", "", "must be 1 to 200 characters long"),
        ("colour", "x" * 201, "must be 1 to 200 characters long"),
        *(("colour", text, "must not contain control characters") for text in ("a\nb", "a\n", "\0", "\x7f", "\x85")),
        ("colour", "\ud800", "must be valid Unicode: it contains half of a surrogate pair"),
    ],
)
def test_rejects_invalid_values(name: str, value: Value, reason: str) -> None:
    """A value that makes no sense for its feature is reported with the reason."""
    assert ALL_KINDS.problems({**ROW, name: value}) == {name: reason}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"amount": None},
        {"amount": 0},
        {"amount": 100},
        {"count": 2**63 - 1},
        {"count": -(2**63)},
        {"colour": "x" * 200},
        {"colour": "ünïcödé 🎬"},
        *({"colour": f"a{odd}b"} for odd in ("\xa0", "\xad", "\u200b", "\ue000", "\u2028", "\ufffe")),
    ],
)
def test_takes_valid_values(changes: dict[str, Value]) -> None:
    """A row within the valid limits has no problem, whether or not its values were seen."""
    assert ALL_KINDS.problems({**ROW, **changes}) == {}


@pytest.mark.parametrize(
    ("name", "value", "canonical"),
    [("count", 40.0, 40), ("count", -0.0, 0), ("amount", 40, 40.0), ("open", True, True), ("amount", None, None)],
)
def test_a_valid_value_has_one_form(name: str, value: Value, canonical: Value) -> None:
    """An integer is an int and a number a float, however JSON wrote them."""
    found = ALL_KINDS[name].validate(value)
    assert (found, type(found)) == (canonical, type(canonical))


def test_a_row_has_the_schemas_order() -> None:
    """A row is in the schema's order; an absent value is missing."""
    schema = FeatureSchema((Feature("b", "number"), Feature("a", "flag"), Feature("c", "category")))
    assert schema.row({"a": False, "b": 1.5, "no feature": 7}) == (1.5, False, None)


def test_a_limit_is_shown_in_full() -> None:
    """A reason shows all digits of a limit."""
    assert Feature("a", "number", minimum=1_234_567).problem(1) == "must be at least 1234567"
    assert Feature("a", "number", maximum=0.1).problem(1) == "must be at most 0.1"


def test_names_unknown_and_absent_features() -> None:
    """An unknown feature and an absent one have different reasons."""
    row = {name: value for name, value in ROW.items() if name != "open"}
    assert ALL_KINDS.problems({**row, "colour2": "red"}) == {
        "colour2": "is not a feature of this model",
        "open": "must not be missing",
    }


@pytest.mark.parametrize("name", ["", "1st", "a:b", "a/b", "x" * 64, "größe", " a", "a\n", SCORE_COLUMN, LABEL_COLUMN])
def test_rejects_odd_feature_names(name: str) -> None:
    """A name that cannot be a column, or is reserved, is rejected."""
    with pytest.raises(SchemaError, match="feature name"):
        Feature(name, "number")


@pytest.mark.parametrize("name", ["a", "_x", "Monthly Fee", "a.b-c", "x" * 63, "score", "user_id"])
def test_takes_common_feature_names(name: str) -> None:
    """A name may contain spaces, dots and dashes, and may be a column name of our tables."""
    assert Feature(name, "number").name == name


def test_rejects_no_features_and_duplicates() -> None:
    """A schema has at least one feature, and no two features of one name."""
    with pytest.raises(SchemaError, match="at least one feature"):
        FeatureSchema(())
    with pytest.raises(SchemaError, match=r"duplicate.*'a'"):
        FeatureSchema((Feature("a", "number"), Feature("a", "flag")))


@pytest.mark.parametrize(
    "other",
    [
        FeatureSchema(ALL_KINDS.features[::-1]),
        FeatureSchema(ALL_KINDS.features[:3]),
        FeatureSchema((*ALL_KINDS.features[:3], Feature("color", "category"))),
        FeatureSchema((msgspec.structs.replace(ALL_KINDS.features[0], kind="integer"), *ALL_KINDS.features[1:])),
    ],
)
def test_another_shape_has_another_fingerprint(other: FeatureSchema) -> None:
    """Another name, kind, order or number of features changes the fingerprint."""
    assert other.fingerprint != ALL_KINDS.fingerprint


def test_new_data_keep_the_fingerprint() -> None:
    """Seen values do not change the fingerprint, and so the tables stay the same."""
    seen = {name: Seen(minimum=1, maximum=2, low=1, high=2) for name in ALL_KINDS.names}
    assert ALL_KINDS.with_seen(seen).fingerprint == ALL_KINDS.fingerprint


def test_fingerprint_is_fixed() -> None:
    """The built-in schema's fingerprint never changes by accident: existing tables and bundles carry it."""
    assert CHURN_SCHEMA.fingerprint == "7bc74543c788"


def test_survives_json() -> None:
    """A schema with its seen values survives JSON."""
    seen = dict.fromkeys(ALL_KINDS.names, Seen(0.5, 9.5, 1.0, 9.0, missing_share=0.25))
    schema = ALL_KINDS.with_seen(seen | {"colour": Seen(categories=("blue", "red"))})
    text = msgspec.json.encode(schema)
    assert msgspec.json.decode(text, type=FeatureSchema) == schema
    assert msgspec.json.encode(msgspec.convert(json.loads(text), FeatureSchema)) == text


def broken(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 (the point is a wrong type)
    """A schema's JSON, its first feature changed."""
    document: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(ALL_KINDS))
    document["features"][0] |= changes
    return document


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        None,
        {"features": 5},
        {"features": []},
        {"features": [5]},
        {"features": [{"name": "a"}]},
        broken(kind="colour"),
        broken(kind=["number"]),
        broken(name=5),
        broken(minimum="0"),
        broken(maximum=float("nan")),
        broken(weight=1),
        broken(seen=None),
        broken(seen={"categories": [1]}),
        broken(seen={"categories": [], "low": "1"}),
        broken(seen={"categories": [], "rows": 1}),
    ],
)
def test_rejects_json_of_another_shape(document: Any) -> None:  # noqa: ANN401 (the point is a wrong type)
    """Anything but a schema's JSON is a ValidationError, and nothing else."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(document, FeatureSchema)
