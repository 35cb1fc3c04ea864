from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.schema import CreateTable

from leeway.schema import CHURN_SCHEMA, Feature, FeatureSchema
from leeway.store.engine import create_tables, open_engine
from leeway.store.tables import Tables, feature_key, tables_for, utc

DIALECT: Any = sa.make_url("postgresql+psycopg://").get_dialect()()
TAKEN = ["score", "Score", "user_id", "as_of", "score_2", "SCORE_2", "ctid", "xmin", "Trace_Id", "x" * 63, "X" * 63]


def schema_of(*names: str) -> FeatureSchema:
    """A schema of numbers with these names."""
    return FeatureSchema(tuple(Feature(name, "number") for name in names))


def all_tables(tables: Tables) -> list[sa.Table]:
    """Its tables in a list."""
    return list(tables.metadata.tables.values())


@pytest.mark.parametrize(
    "names", [TAKEN, TAKEN[::-1], ["score_2", "score"], ["score", "score_2"], ["Month", "month", "MONTH"]]
)
def test_no_two_columns_have_the_same_name(names: list[str]) -> None:
    """Each feature has its own column, even if letter case is ignored."""
    for table in all_tables(tables_for(schema_of(*names))):
        columns = [column.name.lower() for column in table.columns]
        assert len(set(columns)) == len(columns)


def test_a_feature_is_found_by_its_name() -> None:
    """The columns of features are in the schema's order, under keys that no column of ours has."""
    tables = tables_for(schema_of("score", "amount"))
    assert [column.key for column in tables.features_of(tables.predictions)] == ["feature:score", "feature:amount"]
    assert tables.predictions.c["score"] is not tables.predictions.c[feature_key("score")]


def test_a_free_name_is_kept() -> None:
    """A feature's column has the feature's name if no other column has it."""
    columns = [column.name for column in tables_for(CHURN_SCHEMA).features_of(tables_for(CHURN_SCHEMA).predictions)]
    assert columns == list(CHURN_SCHEMA.names)


@pytest.mark.parametrize("names", [TAKEN, ["a" * 63]])
def test_names_fit_postgresql(names: list[str]) -> None:
    """Names of tables, columns and indexes have at most 63 bytes, PostgreSQL's limit."""
    tables = all_tables(tables_for(schema_of(*names)))
    found = [str(each.name) for table in tables for each in (table, *table.columns, *table.indexes)]
    assert max(len(name.encode()) for name in found) <= 63


def test_sqlite_takes_unusual_names(tmp_path: Path) -> None:
    """Tables of features with unusual names can be created and filled."""
    tables, engine = tables_for(schema_of(*TAKEN, "a b", "c.d-e")), open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    create_tables(engine, tables)
    row = {"user_id": "u", "as_of": datetime(2026, 1, 31, tzinfo=UTC).date()}
    row |= {feature_key(name): float(place) for place, name in enumerate(tables.schema.names)}
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.feature_snapshots), row)
        found = connection.execute(sa.select(*tables.features_of(tables.feature_snapshots))).one()
    assert list(found) == [float(place) for place in range(len(tables.schema))]


def test_built_in_schema_has_plain_tables() -> None:
    """The built-in schema's tables have the names in the design."""
    assert set(tables_for(CHURN_SCHEMA).metadata.tables) >= {
        "feature_snapshots",
        "snapshot_labels",
        "predictions",
        "prediction_labels",
        "drift_runs",
    }


def test_another_schema_has_its_own_tables() -> None:
    """The names of a second model's tables end with its fingerprint; the others are shared."""
    schema = schema_of("a")
    names = set(tables_for(schema).metadata.tables)
    shared = {"drift_runs", "erasures", "prunings"}
    assert names & set(tables_for(CHURN_SCHEMA).metadata.tables) == shared
    assert all(name.endswith(schema.fingerprint) for name in names - shared)


def test_two_schemas_share_a_database(tmp_path: Path) -> None:
    """One database can have the tables of both."""
    engine = open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    create_tables(engine, tables_for(CHURN_SCHEMA))
    create_tables(engine, tables_for(schema_of("score")))
    both = {*tables_for(CHURN_SCHEMA).metadata.tables, *tables_for(schema_of("score")).metadata.tables}
    assert set(sa.inspect(engine).get_table_names()) == both


def test_kinds_have_typed_columns() -> None:
    """Each kind of feature has its column type."""
    kinds = FeatureSchema(
        (Feature("a", "number"), Feature("b", "integer"), Feature("c", "flag"), Feature("d", "category"))
    )
    tables = tables_for(kinds)
    made = [column.type.compile(DIALECT) for column in tables.features_of(tables.predictions)]
    assert made == ["DOUBLE PRECISION", "BIGINT", "BOOLEAN", "TEXT"]


def test_tables_compile_for_postgresql() -> None:
    """Every table's statement compiles for PostgreSQL, also with unusual names."""
    for table in all_tables(tables_for(schema_of(*TAKEN, "a b"))):
        statement: Any = CreateTable(table)
        assert f"CREATE TABLE {table.name}" in str(statement.compile(dialect=DIALECT))


def test_times_are_kept_in_utc(tmp_path: Path) -> None:
    """A time of another zone is read as the same moment in UTC."""
    tables, engine = tables_for(CHURN_SCHEMA), open_engine(f"sqlite:///{tmp_path / 'x.db'}")
    create_tables(engine, tables)
    noon = datetime(2026, 3, 1, 14, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.prediction_labels), {"prediction_id": "p", "label": 1, "labelled_at": noon})
        (found,) = connection.scalars(sa.select(tables.prediction_labels.c.labelled_at))
    assert (found, found.tzinfo) == (noon, UTC)


def test_naive_times_are_rejected() -> None:
    """A time without a zone is ambiguous."""
    with pytest.raises(ValueError, match="no time zone"):
        utc(datetime(2026, 3, 1))  # noqa: DTZ001 (the point of the test)
