from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from drift.sources.arguments import ReferenceChoice
from drift.sources.errors import SourceError
from drift.sources.opening import opened
from drift.sources.reference import SourceReference, keep_reference, kept_reference
from drift.sources.table import prediction_table
from leeway.model.bundle import Bundle
from leeway.schema import SCORE_COLUMN
from tests.drift.sources import tables
from tests.drift.sources.conftest import LIMITS


def chosen(text: str, url: str, bundle: Path = Path("none")) -> SourceReference:
    """The reference that the text names, of two features."""
    mapping = replace(tables.MAPPING, features={"vip": "vip", "basket": "payload.basket.total"})
    with opened(url) as source:
        return ReferenceChoice(text, bundle, LIMITS).load(prediction_table(source, mapping))


def test_rules_are_inferred(october: SourceReference) -> None:
    """Kinds, methods, thresholds, noise constants and what was seen come from the period's rows."""
    plan = october.reference.plan
    assert {each.name: each.kind for each in october.schema} == {
        "age": "integer", "income": "number", "vip": "flag", "country": "category", "basket": "number",
    }  # fmt: skip
    assert {name: column.method for name, column in plan.features.items()} == {
        "age": "wasserstein", "income": "wasserstein", "vip": "jensenshannon", "country": "jensenshannon",
        "basket": "wasserstein",
    }  # fmt: skip
    assert all(0.1 < column.noise_constant < 5 for column in plan.features.values())
    assert plan.score
    assert october.schema["country"].seen.categories == ("de", "fr", "it")
    assert october.schema["income"].seen.missing_share == pytest.approx(0.02, abs=0.005)


def test_a_kept_reference_is_read_as_it_was(october: SourceReference, tmp_path: Path) -> None:
    """Values, rules, window, model and performance."""
    keep_reference(october, tmp_path / "october")
    found = kept_reference(tmp_path / "october")
    assert (found.window, found.model, found.performance) == (october.window, october.model, october.performance)
    assert (found.schema, found.reference.plan) == (october.schema, october.reference.plan)
    for name, values in october.values.items():
        same = (
            found.values[name] == values
            if values.dtype == object
            else np.isclose(found.values[name], values, equal_nan=True)
        )
        assert same.all(), name


def test_a_damaged_reference_is_named(october: SourceReference, tmp_path: Path) -> None:
    """The message says to make it again."""
    keep_reference(october, tmp_path / "october")
    (tmp_path / "october" / "values.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match=r"october holds no usable reference: .*; make it again"):
        kept_reference(tmp_path / "october")


def test_a_file_can_be_the_reference(sqlite_url: str, made: list[tuple[Any, ...]], tmp_path: Path) -> None:
    """For example the training data: without times, with the features by their own names."""
    table = tables.arrow(made[:600]).drop_columns(["ts", "payload", "version"])
    table = table.append_column("basket", table["vip"].cast("double"))
    pq.write_table(table, tmp_path / "training.parquet")
    found = chosen(str(tmp_path / "training.parquet"), sqlite_url)
    assert found.reference.rows == 600
    assert found.window.from_ is None
    assert found.model.name == "shop"
    assert SCORE_COLUMN in found.values


def test_another_table_can_be_the_reference(made: list[tuple[Any, ...]], tmp_path: Path) -> None:
    """By its name in the same source."""
    url = tables.sqlite_file(tmp_path / "shop.db", made[:900])
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("CREATE TABLE validated AS SELECT *, 1 AS basket FROM scored WHERE seq < 400")
    connection.close()
    assert chosen("validated", url).reference.rows == 400


def test_a_bundle_can_be_the_reference(bundle: Bundle, sqlite_url: str) -> None:
    """With its schema, plan and card."""
    found = chosen("bundle", sqlite_url, bundle.folder)
    assert found.schema == bundle.schema
    assert found.performance
    assert found.performance.figures == bundle.card.figures


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2026-12-01..2026-12-31", "table scored: the reference has no rows: 2026-12-01T"),
        ("2026-02-30..2026-03-31", "'2026-02-30..2026-03-31': day"),
        ("2026-03-31..2026-03-01", "ends before it begins"),
        ("elsewhere", "table elsewhere: there is no such table; found: scored"),
        ("nowhere/*.parquet", "there is no Parquet file"),
    ],
)
def test_a_reference_that_is_none_is_an_error(sqlite_url: str, text: str, problem: str) -> None:
    """The message says what is wrong with it."""
    with pytest.raises(SourceError, match=problem):
        chosen(text, sqlite_url)


def test_text_that_identifies_something_is_no_feature(sqlite_url: str) -> None:
    """The message names the column."""
    mapping = replace(tables.MAPPING, features={"age": "age", "request": "request_id"})
    with (
        opened(sqlite_url) as source,
        pytest.raises(SourceError, match="column request_id: feature 'request' is text with 1,2"),
    ):
        ReferenceChoice(tables.REFERENCE, Path("none"), LIMITS).load(prediction_table(source, mapping))
