from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.bulk_insert import CHUNK_ROWS, SQLITE_ROWS, insert_rows, upsert_rows
from leeway.store.engine import DatabaseError, translated
from leeway.store.tables import feature_key
from tests.leeway.store.engine.labels import DAY, KEYS, LABELS, TABLES, held, rows


@pytest.mark.parametrize("count", [1, SQLITE_ROWS - 1, SQLITE_ROWS, SQLITE_ROWS + 1, 2 * SQLITE_ROWS])
def test_any_number_of_rows_is_inserted(engine: sa.Engine, count: int) -> None:
    """As many as one statement takes, fewer and more: each is there once."""
    with engine.begin() as connection:
        assert insert_rows(connection, LABELS, KEYS, rows(count)) == count
    assert held(engine) == sorted((user_id, label) for label, user_id, _ in rows(count))


def test_inserts_rows_in_chunks(engine: sa.Engine) -> None:
    """More rows than a chunk all arrive, from an iterator too, and are counted."""
    with engine.begin() as connection:
        count = insert_rows(connection, LABELS, KEYS, iter(rows(CHUNK_ROWS + 1)))
    assert (count, len(held(engine))) == (CHUNK_ROWS + 1, CHUNK_ROWS + 1)


def test_a_row_twice_is_an_error(engine: sa.Engine) -> None:
    """Without leave to ignore it a key that is there already is a DatabaseError, and nothing is kept."""
    with pytest.raises(DatabaseError, match="UNIQUE"), translated(), engine.begin() as connection:
        insert_rows(connection, LABELS, KEYS, [*rows(2), *rows(1)])
    assert held(engine) == []


def test_duplicates_can_be_passed_over(engine: sa.Engine) -> None:
    """With leave to ignore it the first row of a key stays."""
    with engine.begin() as connection:
        insert_rows(connection, LABELS, KEYS, rows(1, label=0))
        insert_rows(connection, LABELS, KEYS, rows(2, label=1), ignore_duplicates=True)
    assert held(engine) == [("u0", 0), ("u1", 1)]


def test_ignoring_duplicates_ignores_nothing_else(engine: sa.Engine) -> None:
    """A missing value that may not be is an error, duplicates passed over or not."""
    with pytest.raises(DatabaseError, match="NOT NULL"), translated(), engine.begin() as connection:
        insert_rows(connection, LABELS, KEYS, rows(1, label=None), ignore_duplicates=True)
    assert held(engine) == []


@pytest.mark.parametrize("row", [(0, "u0"), (0, "u0", DAY, 1)])
def test_a_row_of_another_length_is_refused(engine: sa.Engine, row: tuple[Any, ...]) -> None:
    """A value too few or too many is an error that says how many there must be, and nothing is kept."""
    with pytest.raises(ValueError, match="snapshot_labels must hold 3 values"), engine.begin() as connection:
        insert_rows(connection, LABELS, KEYS, [*rows(1), row])
    assert held(engine) == []


def test_an_unknown_column_is_refused(engine: sa.Engine) -> None:
    """A value that no column takes is not passed over."""
    with pytest.raises(KeyError, match="nobody"), engine.begin() as connection:
        insert_rows(connection, LABELS, (*KEYS, "nobody"), [(*row, 1) for row in rows(1)])
    assert held(engine) == []


def named(some: list[tuple[int | None, str, date]]) -> list[dict[str, Any]]:
    """Rows by column key."""
    return [dict(zip(KEYS, row, strict=True)) for row in some]


def test_upsert_replaces(engine: sa.Engine) -> None:
    """A row whose key is there takes its place; another one joins."""
    with engine.begin() as connection:
        upsert_rows(connection, LABELS, named(rows(1, label=0)))
        upsert_rows(connection, LABELS, named(rows(2, label=1)))
    assert held(engine) == [("u0", 1), ("u1", 1)]


def test_upsert_finds_feature_columns(engine: sa.Engine) -> None:
    """Columns that go by another key than their name, as those of features do, are replaced as well."""
    table = TABLES.feature_snapshots
    row = {"user_id": "u", "as_of": DAY, **dict.fromkeys(map(feature_key, CHURN_SCHEMA.names))}
    with engine.begin() as connection:
        upsert_rows(connection, table, [row])
        upsert_rows(connection, table, [row | {feature_key("monthly_fee"): 9.5}])
        found = connection.execute(sa.select(table.c[feature_key("monthly_fee")])).all()
    assert [tuple(each) for each in found] == [(9.5,)]


def test_upsert_of_nothing_is_nothing(engine: sa.Engine) -> None:
    """No rows, no statement, no error."""
    with engine.begin() as connection:
        upsert_rows(connection, LABELS, [])
    assert held(engine) == []
