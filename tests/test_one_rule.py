"""Every reader of a feature's value follows one rule, `leeway.schema.Feature.validate`: examples are searched for."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import msgspec
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from leeway.data.csv_table import feature_reader
from leeway.data.tabular import read_table
from leeway.model import bundle as bundles
from leeway.model.card import Card
from leeway.model.manifest import CARD, BundleDamaged, read_json, write_json
from leeway.schema import INT64_MAX, INT64_MIN, TEXT_PATTERN, Feature, FeatureSchema, SchemaError, Value
from service.http.fast_path import batch_reader
from service.http.schemas import prediction_models
from tests.leeway.model.bundles import copy_of, fitted, reseal, small_bundle

quick: Final = settings(max_examples=300, derandomize=True, deadline=None, database=None)
REJECTED: Final = "rejected"
VALID: Final[dict[str, Value]] = {
    "number": 0.5,
    "share": 0.5,
    "integer": 5,
    "count": 5,
    "flag": True,
    "answer": False,
    "category": "a",
    "colour": "b",
}
SCHEMA: Final = FeatureSchema(
    (
        Feature("number", "number"),
        Feature("share", "number", minimum=0, maximum=1, nullable=True),
        Feature("integer", "integer"),
        Feature("count", "integer", minimum=-10, maximum=1_000, nullable=True),
        Feature("flag", "flag"),
        Feature("answer", "flag", nullable=True),
        Feature("category", "category"),
        Feature("colour", "category", nullable=True),
    )
)
ODD: Final = "\xa0\xad\u200b\u2028\ue000\ufeff\x00\t\n\r\x1b\x7f\x85\x9f\U0001f3ac"

texts = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from(ODD)), max_size=205)
integers = st.one_of(
    st.integers(-20, 1_100), st.integers(-(2**70), 2**70), st.sampled_from([INT64_MAX, INT64_MAX + 1, INT64_MIN])
)
floats = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-20, 1_100).map(float),
    st.sampled_from([-0.0, 40.0, 40.5, 2.0**53, 2.0**63, -(2.0**63), 1e300, 5e-324]),
)
values = st.one_of(
    st.none(), st.booleans(), integers, floats, texts, st.text("0123456789.-e", max_size=4), st.just([]), st.just({})
)
features = st.sampled_from(SCHEMA.features)


def outcome(read: Callable[[], object]) -> str:
    """The value read, with its type, or that it is rejected."""
    try:
        return repr(read())
    except (ValueError, ValidationError):
        return REJECTED


def by_the_rule(feature: Feature, value: object) -> str:
    """What the one rule makes of a value."""
    return outcome(lambda: feature.validate(value))


MODEL: Final = prediction_models(SCHEMA).item
READ_BATCH: Final = batch_reader(SCHEMA)


@quick
@given(feature=features, value=values)
@example(feature=SCHEMA["category"], value="a\xa0b")
@example(feature=SCHEMA["category"], value="a\n")
@example(feature=SCHEMA["integer"], value=40.0)
@example(feature=SCHEMA["number"], value=10**400)
def test_requests_follow_the_rule(feature: Feature, value: Any) -> None:  # noqa: ANN401 (JSON)
    """The request models and the fast reader of batches take the same values, in the same form, or reject them."""
    item = json.dumps({"features": {**VALID, feature.name: value}})
    place = SCHEMA.names.index(feature.name)

    def by_model() -> Value:
        row = MODEL.model_validate_json(item).request().features
        assert row is not None
        return row[place]

    def by_fast_reader() -> Value:
        (request,) = READ_BATCH(f'{{"items": [{item}]}}'.encode())
        assert request.features is not None
        return request.features[place]

    expected = by_the_rule(feature, value)
    assert (outcome(by_model), outcome(by_fast_reader)) == (expected, expected)


@quick
@given(feature=features, data=st.data())
def test_csv_cells_follow_the_rule(feature: Feature, data: st.DataObject) -> None:
    """A CSV cell stands for the value that it shows, and is taken or rejected as that value."""
    of_kind: dict[str, st.SearchStrategy[Any]] = {
        "number": st.one_of(integers, floats),
        "integer": st.one_of(integers, floats),
        "flag": st.booleans(),
        "category": texts,
    }
    value = data.draw(st.one_of(st.none(), of_kind[feature.kind]))
    cell = "" if value is None else str(value)
    expected = by_the_rule(feature, None if cell == "" else value)
    assert outcome(lambda: feature_reader(feature)(cell)) == expected


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for the files of many examples."""
    return tmp_path_factory.mktemp("tables")


@settings(quick, max_examples=60)
@given(text=texts)
@example(text="a\xa0b")
@example(text="a\x00b")
@example(text="a\x85b")
def test_tables_follow_the_rule(folder: Path, text: str) -> None:
    """A table's text column becomes a category in CSV and in Parquet, if every text follows the rule."""
    text = f"x{text}"  # not a number, date, flag or missing value
    column = [text, "b"]
    pd.DataFrame({"colour": column, "y": [0, 1]}).to_parquet(folder / "table.parquet")
    with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("colour", "y"), (text, 0), ("b", 1)])
    expected = outcome(lambda: [SCHEMA["colour"].validate(each) for each in column])
    for path in (folder / "table.parquet", folder / "table.csv"):
        assert outcome(partial(texts_of, path)) == expected


def texts_of(path: Path) -> list[str]:
    """The texts of a table's column `colour`."""
    return read_table(path, target="y").frame["colour"].tolist()


@settings(quick, max_examples=60)
@given(number=st.one_of(st.integers(INT64_MIN, INT64_MAX), floats))
def test_columns_of_numbers_follow_the_rule(folder: Path, number: float) -> None:
    """A table's column of numbers holds the values that the rule makes of them, by the kind that was inferred."""
    frame = pd.DataFrame({"n": pd.Series([number, None], dtype="Int64" if isinstance(number, int) else "Float64")})
    frame.assign(y=[0, 1]).to_parquet(folder / "numbers.parquet")
    (folder / "numbers.csv").write_text(f"n,y\n{number},0\n,1\n", encoding="utf-8")
    for name in ("numbers.parquet", "numbers.csv"):
        table = read_table(folder / name, target="y")
        assert table.schema["n"].nullable
        assert table.frame["n"][0] == table.schema["n"].validate(number)


def test_the_bundle_follows_the_rule(tmp_path: Path) -> None:
    """The example on a bundle's card is valid if a request with the same features is."""
    folder = copy_of(small_bundle(tmp_path / "made", fitted()), tmp_path)
    card = read_json(folder / CARD, Card)
    schema = bundles.load(folder).schema
    for name, value in {"age": 40.0, "monthly fee": 40, "c.x-y": "a\xa0b"}.items():
        write_json(folder / CARD, msgspec.structs.replace(card, example=card.example | {name: value}))
        reseal(folder)
        assert bundles.load(folder).card.example[name] == schema[name].validate(value)
    for name, value in {"age": 40.5, "monthly fee": "40", "c.x-y": "a\n"}.items():
        write_json(folder / CARD, msgspec.structs.replace(card, example=card.example | {name: value}))
        reseal(folder)
        with pytest.raises(SchemaError):
            schema[name].validate(value)
        with pytest.raises(BundleDamaged, match=name):
            bundles.load(folder)


@settings(quick, max_examples=200)
@given(text=texts)
def test_the_pattern_says_the_rule(text: str) -> None:
    """JSON Schema's pattern and lengths accept exactly the valid categories that UTF-8 can carry."""
    by_pattern = bool(re.fullmatch(TEXT_PATTERN, text)) and 1 <= len(text) <= 200
    assert by_pattern == (SCHEMA["category"].problem(text) is None)
