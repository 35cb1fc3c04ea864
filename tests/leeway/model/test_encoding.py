from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.model.encoding import FLOAT32_MAX, Encoder
from leeway.schema import Feature, FeatureRow, FeatureSchema, Seen, Value

SCHEMA = FeatureSchema(
    (
        Feature("colour", "category", nullable=True, seen=Seen(categories=("blue", "red"))),
        Feature("amount", "number", nullable=True, seen=Seen(0, 100, 1, 99)),
        Feature("open", "flag", nullable=True, seen=Seen(0, 1, 0, 1, missing_share=0.2)),
        Feature("count", "integer", seen=Seen(7, 7, 7, 7)),
        Feature("shape", "category", nullable=True, seen=Seen(categories=("round",), missing_share=0.5)),
        Feature("gone", "number", nullable=True, seen=Seen(missing_share=1.0)),
    )
)
USUAL: dict[str, Value] = {"colour": "red", "amount": 50.0, "open": True, "count": 7, "shape": "round", "gone": None}


@pytest.fixture
def encoder() -> Encoder:
    """An encoder of every kind of feature."""
    return Encoder(SCHEMA)


def unusual(encoder: Encoder, **changes: Value) -> tuple[str, ...]:
    """The unusual features of a usual row with these changes."""
    (names,) = encoder.unusual(encoder.encode([SCHEMA.row(USUAL | changes)]))
    return names


def test_columns_go_by_kind(encoder: Encoder) -> None:
    """Numbers, integers and flags are numbers, a flag 0 or 1; categories are text; each in the schema's order."""
    encoded = encoder.encode([SCHEMA.row(USUAL), SCHEMA.row(USUAL | {"open": False})])
    assert (encoder.number_names, encoder.text_names) == (("amount", "open", "count", "gone"), ("colour", "shape"))
    np.testing.assert_array_equal(encoded.numbers, [[50, 1, 7, np.nan], [50, 0, 7, np.nan]])
    assert encoded.texts == {"colour": ["red", "red"], "shape": ["round", "round"]}


@pytest.mark.parametrize("row", [{}, dict.fromkeys(USUAL)])
def test_absent_is_missing(encoder: Encoder, row: dict[str, Value]) -> None:
    """A feature that is None or absent is NaN or empty text."""
    encoded = encoder.encode([SCHEMA.row(row)])
    assert np.isnan(encoded.numbers).all()
    assert encoded.texts == {"colour": [""], "shape": [""]}


@pytest.mark.parametrize("row", [(), (1.0,), tuple(USUAL.values())[1:], (*USUAL.values(), 1.0)])
def test_a_row_of_another_length_is_rejected(encoder: Encoder, row: FeatureRow) -> None:
    """Too few or too many values would get the wrong names."""
    with pytest.raises(ValueError, match=f"has {len(row)} values, but the schema has 6 features"):
        encoder.encode([row])


def test_no_rows_give_no_rows(encoder: Encoder) -> None:
    """Without rows the arrays are empty, in the right shapes."""
    encoded = encoder.encode([])
    assert (len(encoded), encoded.numbers.shape, encoder.unusual(encoded)) == (0, (0, 4), [])


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1e300, FLOAT32_MAX), (-1e300, -FLOAT32_MAX), (2**63 - 1, float(2**63)), (0.1, float(np.float32(0.1)))],
)
def test_huge_numbers_stay_finite(encoder: Encoder, value: float, expected: float) -> None:
    """A number beyond 32 bits becomes the largest 32-bit float, not infinity; any other is rounded."""
    feed = encoder.onnx_feed(encoder.encode([SCHEMA.row(USUAL | {"amount": value})]))
    assert feed["amount"].tolist() == [[expected]]


def test_onnx_takes_one_column_per_feature(encoder: Encoder) -> None:
    """ONNX takes one (n, 1) column per feature, of 32-bit floats or text."""
    feed = encoder.onnx_feed(encoder.encode([SCHEMA.row(USUAL)] * 3))
    assert set(feed) == set(SCHEMA.names)
    assert {column.shape for column in feed.values()} == {(3, 1)}
    assert (str(feed["count"].dtype), str(feed["colour"].dtype)) == ("float32", "object")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"amount": 1},
        {"amount": 99.0},
        {"open": False},
        {"open": None},
        {"shape": None},
        {"colour": "blue"},
    ],
)
def test_usual_is_what_was_seen(encoder: Encoder, changes: dict[str, Value]) -> None:
    """Values within the range, seen categories, and missing values where some were missing are usual."""
    assert unusual(encoder, **changes) == ()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("amount", 0.999),
        ("amount", 99.001),
        ("amount", 1e300),
        ("amount", -1e300),
        ("amount", None),
        ("count", 8),
        ("count", 6),
        ("count", 2**63 - 1),
        ("colour", "green"),
        ("colour", "RED"),
        ("colour", None),
        ("shape", "square"),
        ("gone", 0.0),
    ],
)
def test_unusual_is_what_was_not_seen(encoder: Encoder, name: str, value: Value) -> None:
    """Out of range, not the constant, a new category, missing where none was, present where none was."""
    assert unusual(encoder, **{name: value}) == (name,)


def test_names_every_unusual_feature(encoder: Encoder) -> None:
    """Each row's unusual features are named: numbers in the schema's order, then categories."""
    rows: list[dict[str, Value]] = [USUAL | {"shape": "x", "count": 1, "amount": None, "colour": "x"}, USUAL]
    found = encoder.unusual(encoder.encode(list(map(SCHEMA.row, rows))))
    assert found == [("amount", "count", "colour", "shape"), ()]


def test_without_a_range_nothing_is_unusual() -> None:
    """Before a schema has seen data, no number is unusual."""
    encoder = Encoder(FeatureSchema((Feature("a", "number"),)))
    assert encoder.unusual(encoder.encode([(-1e300,)])) == [()]


@pytest.mark.parametrize("kind", ["number", "category"])
def test_one_kind_alone_is_enough(kind: Any) -> None:  # noqa: ANN401 (a literal)
    """A schema may have numbers only, or categories only."""
    encoder = Encoder(FeatureSchema((Feature("a", kind, nullable=True, seen=Seen(missing_share=0.5)),)))
    encoded = encoder.encode([(None,), (None,)])
    assert (len(encoded), encoder.unusual(encoded)) == (2, [(), ()])


def test_few_of_the_references_own_rows_are_unusual(bundle: Bundle, people: Population) -> None:
    """Of the rows that a bundle was made from, at most one value in fifty is unusual."""
    rows = [bundle.schema.row(people.row(place)) for place in range(len(people))]
    names = bundle.encoder.unusual(bundle.encoder.encode(rows))
    assert 0 < sum(map(len, names)) < len(rows) * len(bundle.schema) / 50
