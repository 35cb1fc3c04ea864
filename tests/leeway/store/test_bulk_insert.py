from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.bulk_insert import CHUNK_ROWS, SQLITE_ROWS, insert_rows, upsert_rows
from leeway.store.engine import DatabaseError, translated
from leeway.store.tables import Tables, feature_key, tables_for

LABELS = tables_for(CHURN_SCHEMA).snapshot_labels
DAY = date(2026, 1, 31)
KEYS = ("label", "user_id", "as_of")
"""Not in the order of the table's columns."""


def rows(count: int, label: int | None = 0) -> list[tuple[int | None, str, date]]:
    """Labels of `count` customers, in the order of `KEYS`."""
    return [(label, f"u{each}", DAY) for each in range(count)]


def named(some: list[tuple[int | None, str, date]]) -> list[dict[str, Any]]:
    """The same rows by column key."""
    return [dict(zip(KEYS, row, strict=True)) for row in some]


def stored(engine: sa.Engine) -> list[tuple[str, int]]:
    """The table's customers and labels."""
    with engine.connect() as connection:
        found = connection.execute(sa.select(LABELS.c.user_id, LABELS.c.label).order_by(LABELS.c.user_id))
        return [(row[0], row[1]) for row in found]


@pytest.mark.parametrize("count", [1, SQLITE_ROWS - 1, SQLITE_ROWS, SQLITE_ROWS + 1, 2 * SQLITE_ROWS])
def test_inserts_any_number_of_rows(engine: sa.Engine, count: int) -> None:
    """Each row is stored once, whether there are as many as one statement takes, fewer or more."""
    with engine.begin() as connection:
        assert insert_rows(connection, LABELS, KEYS, rows(count)) == count
    assert stored(engine) == sorted((user_id, label) for label, user_id, _ in rows(count))


def test_inserts_rows_in_chunks(engine: sa.Engine) -> None:
    """An iterator with more rows than a chunk is stored and counted completely."""
    with engine.begin() as connection:
        count = insert_rows(connection, LABELS, KEYS, iter(rows(CHUNK_ROWS + 1)))
    assert (count, len(stored(engine))) == (CHUNK_ROWS + 1, CHUNK_ROWS + 1)


def test_a_duplicate_key_is_an_error(engine: sa.Engine) -> None:
    """By default an existing key is a DatabaseError, and nothing is stored."""
    with pytest.raises(DatabaseError, match="UNIQUE"), translated(), engine.begin() as connection:
        insert_rows(connection, LABELS, KEYS, [*rows(2), *rows(1)])
    assert stored(engine) == []


def test_duplicates_can_be_skipped(engine: sa.Engine) -> None:
    """With `ignore_duplicates` the first row of a key remains."""
    with engine.begin() as connection:
        insert_rows(connection, LABELS, KEYS, rows(1, label=0))
        insert_rows(connection, LABELS, KEYS, rows(2, label=1), ignore_duplicates=True)
    assert stored(engine) == [("u0", 0), ("u1", 1)]


def test_skipping_duplicates_hides_no_other_error(engine: sa.Engine) -> None:
    """A missing value in a required column remains an error."""
    with pytest.raises(DatabaseError, match="NOT NULL"), translated(), engine.begin() as connection:
        insert_rows(connection, LABELS, KEYS, rows(1, label=None), ignore_duplicates=True)
    assert stored(engine) == []


@pytest.mark.parametrize("row", [(0, "u0"), (0, "u0", DAY, 1)])
def test_a_row_of_another_length_is_rejected(engine: sa.Engine, row: tuple[Any, ...]) -> None:
    """The error says how many values a row needs, and nothing is stored."""
    with pytest.raises(ValueError, match="snapshot_labels must hold 3 values"), engine.begin() as connection:
        insert_rows(connection, LABELS, KEYS, [*rows(1), row])
    assert stored(engine) == []


def test_an_unknown_column_is_rejected(engine: sa.Engine) -> None:
    """A value without a column is not dropped."""
    with pytest.raises(KeyError, match="nobody"), engine.begin() as connection:
        insert_rows(connection, LABELS, (*KEYS, "nobody"), [(*row, 1) for row in rows(1)])
    assert stored(engine) == []


def test_upsert_replaces(engine: sa.Engine) -> None:
    """A row with an existing key replaces the old one; another one is added; no rows change nothing."""
    with engine.begin() as connection:
        upsert_rows(connection, LABELS, named(rows(1, label=0)))
        upsert_rows(connection, LABELS, named(rows(2, label=1)))
        upsert_rows(connection, LABELS, [])
    assert stored(engine) == [("u0", 1), ("u1", 1)]


def test_upsert_replaces_feature_columns(engine: sa.Engine, tables: Tables) -> None:
    """Columns whose key differs from their name, as those of features, are replaced too."""
    table = tables.feature_snapshots
    row = {"user_id": "u", "as_of": DAY, **dict.fromkeys(map(feature_key, CHURN_SCHEMA.names))}
    with engine.begin() as connection:
        upsert_rows(connection, table, [row])
        upsert_rows(connection, table, [row | {feature_key("monthly_fee"): 9.5}])
        found = connection.execute(sa.select(table.c[feature_key("monthly_fee")])).all()
    assert [tuple(each) for each in found] == [(9.5,)]
