"""The engine and the tables. SQLite in a file is the embedded default, PostgreSQL the one of the stack.

Each feature has a typed column. The built-in schema's tables have plain names; another schema's tables carry its
fingerprint, so that two models can share one database.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from leeway.schema import CHURN_SCHEMA, FeatureSchema, Kind

CONNECT_TIMEOUT_S = 2
BUSY_TIMEOUT_S = 5
CHUNK_ROWS = 5_000


class DatabaseError(Exception):
    """The database could not be reached or refused; `__cause__` is the driver's error."""


class UtcDateTime(sa.TypeDecorator[datetime]):
    """An aware time, kept in UTC; naive ones are refused on the way in."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Refuse a naive time; turn any other to UTC."""
        return None if value is None else utc(value)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """SQLite forgets the time zone: it was UTC."""
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)


def utc(moment: datetime) -> datetime:
    """The same moment in UTC.

    Raises:
        ValueError: `moment` is naive.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; give an aware time")
    return moment.astimezone(UTC)


@dataclass(frozen=True)
class Tables:
    """The tables of one feature schema, and `drift_runs`, which all schemas share.

    A feature's column has the key `feature_key(name)`, so that a feature called `score` cannot meet our own.
    """

    schema: FeatureSchema
    metadata: sa.MetaData
    feature_snapshots: sa.Table
    snapshot_labels: sa.Table
    predictions: sa.Table
    prediction_labels: sa.Table
    drift_runs: sa.Table

    def features_of(self, table: sa.Table) -> list[sa.Column[Any]]:
        """The feature columns of `table`, in the schema's order."""
        return [table.c[feature_key(name)] for name in self.schema.names]


def feature_key(name: str) -> str:
    """The key under which a feature's column is found and filled."""
    return f"feature:{name}"


_COLUMN_TYPE: dict[Kind, sa.types.TypeEngine[Any]] = {
    "number": sa.Double(),
    "integer": sa.BigInteger(),
    "flag": sa.Boolean(),
    "category": sa.Text(),
}
_OWN_COLUMNS = frozenset(
    ["user_id", "as_of", "prediction_id", "predicted_at", "model_version", "score", "prediction", "unusual_features", "lookup_duration_s", "inference_duration_s", "trace_id", "span_id"]
)


def tables_for(schema: FeatureSchema) -> Tables:
    """Describe the tables of `schema`; nothing is created yet."""
    suffix = "" if schema.fingerprint == CHURN_SCHEMA.fingerprint else f"_{schema.fingerprint}"
    metadata = sa.MetaData()
    return Tables(
        schema=schema,
        metadata=metadata,
        feature_snapshots=sa.Table(
            f"feature_snapshots{suffix}",
            metadata,
            sa.Column("user_id", sa.Text, primary_key=True),
            sa.Column("as_of", sa.Date, primary_key=True, index=True),
            *_feature_columns(schema),
        ),
        snapshot_labels=sa.Table(
            f"snapshot_labels{suffix}",
            metadata,
            sa.Column("user_id", sa.Text, primary_key=True),
            sa.Column("as_of", sa.Date, primary_key=True, index=True),
            sa.Column("label", sa.SmallInteger, nullable=False),
        ),
        predictions=_predictions_table(metadata, suffix, schema),
        prediction_labels=sa.Table(
            f"prediction_labels{suffix}",
            metadata,
            sa.Column("prediction_id", sa.Text, primary_key=True),
            sa.Column("label", sa.SmallInteger, nullable=False),
            sa.Column("labelled_at", UtcDateTime, nullable=False),
        ),
        drift_runs=_drift_runs_table(metadata),
    )


def _predictions_table(metadata: sa.MetaData, suffix: str, schema: FeatureSchema) -> sa.Table:
    return sa.Table(
        f"predictions{suffix}",
        metadata,
        sa.Column("prediction_id", sa.Text, primary_key=True),
        sa.Column("predicted_at", UtcDateTime, nullable=False, index=True),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, index=True),
        sa.Column("as_of", sa.Date),
        *_feature_columns(schema),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("prediction", sa.SmallInteger, nullable=False),
        sa.Column("unusual_features", sa.SmallInteger, nullable=False),
        sa.Column("lookup_duration_s", sa.Double),
        sa.Column("inference_duration_s", sa.Double, nullable=False),
        sa.Column("trace_id", sa.Text, comment="32 hex digits; null where the trace was not sampled"),
        sa.Column("span_id", sa.Text, comment="16 hex digits of the server span; null as above"),
    )


def _drift_runs_table(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "drift_runs",
        metadata,
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("finished_at", UtcDateTime, nullable=False, index=True),
        sa.Column("model_name", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("reference_from", UtcDateTime),
        sa.Column("reference_to", UtcDateTime),
        sa.Column("window_from", UtcDateTime, nullable=False),
        sa.Column("window_to", UtcDateTime, nullable=False),
        sa.Column("rows", sa.BigInteger),
        sa.Column("subjects", sa.BigInteger),
        sa.Column("share", sa.Double),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("recommendation", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("result", sa.JSON, nullable=False, comment="the run's result.json"),
        sa.Column(
            "state", sa.JSON, nullable=False, comment="what the worker needs to go on: confirmed windows, cooldown"
        ),
        sa.Column("trace_id", sa.Text),
    )


def _feature_columns(schema: FeatureSchema) -> list[sa.Column[Any]]:
    """One typed column a feature; a name that is taken (SQL ignores case) gains its place in the schema."""
    taken = set(_OWN_COLUMNS)
    columns: list[sa.Column[Any]] = []
    for place, feature in enumerate(schema):
        name = feature.name if feature.name.lower() not in taken else f"{feature.name}_{place}"
        taken.add(name.lower())
        columns.append(sa.Column(name, _COLUMN_TYPE[feature.kind], key=feature_key(feature.name)))
    return columns


def open_engine(url: str) -> sa.Engine:
    """Make the engine; no connection is opened yet. A SQLite file's folder is made where it is missing.

    Raises:
        DatabaseError: the address cannot be read, or its driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(parsed)
        return sa.create_engine(
            parsed,
            pool_pre_ping=True,
            pool_size=10,
            pool_timeout=CONNECT_TIMEOUT_S,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S, "options": "-c statement_timeout=60000"},
        )
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError) as error:
        raise DatabaseError(
            f"LEEWAY_DATABASE_URL cannot be used: {error}; give sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME"
        ) from error


def _sqlite_engine(url: sa.URL) -> sa.Engine:
    if url.database and url.database != ":memory:":
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})

    @sa.event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


@contextmanager
def translated() -> Iterator[None]:
    """Turn any driver error inside the block into a `DatabaseError`."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, OSError) as error:
        detail = getattr(error, "orig", None) or error
        raise DatabaseError(str(detail).strip().splitlines()[0]) from error


def create_tables(engine: sa.Engine, tables: Tables) -> None:
    """Create what is missing of `tables`; several processes may do so at once.

    Raises:
        DatabaseError: the database could not be reached or refused.
    """
    with translated():
        try:
            tables.metadata.create_all(engine)
        except (sa.exc.IntegrityError, sa.exc.OperationalError, sa.exc.ProgrammingError):
            tables.metadata.create_all(engine)  # another process made them in the same instant


def insert_rows(
    connection: sa.Connection, table: sa.Table, rows: Iterable[Mapping[str, Any]], *, ignore_duplicates: bool = False
) -> int:
    """Insert many rows (dictionaries by column key) and return how many were read.

    PostgreSQL takes them by COPY through a temporary table, SQLite by prepared statements.
    With `ignore_duplicates` a row whose key is there already is passed over.
    """
    source, total = iter(rows), 0
    while chunk := list(islice(source, CHUNK_ROWS)):
        if connection.dialect.name == "postgresql":
            _copy(connection, table, chunk, ignore_duplicates=ignore_duplicates)
        else:
            statement = sa.insert(table)
            connection.execute(statement.prefix_with("OR IGNORE") if ignore_duplicates else statement, chunk)
        total += len(chunk)
    return total


def _copy(
    connection: sa.Connection, table: sa.Table, rows: list[Mapping[str, Any]], *, ignore_duplicates: bool
) -> None:
    quote = connection.dialect.identifier_preparer.quote
    columns = [column for column in table.columns if column.key in rows[0]]
    names = ", ".join(quote(column.name) for column in columns)
    target = quote(table.name)
    if ignore_duplicates:
        connection.exec_driver_sql(
            f"CREATE TEMP TABLE incoming ON COMMIT DROP AS SELECT {names} FROM {target} LIMIT 0"  # noqa: S608 (quoted)
        )
    driver: Any = connection.connection.driver_connection
    into = "incoming" if ignore_duplicates else target
    with driver.cursor() as cursor, cursor.copy(f"COPY {into} ({names}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row([row[str(column.key)] for column in columns])
    if ignore_duplicates:
        connection.exec_driver_sql(
            f"INSERT INTO {target} ({names}) SELECT {names} FROM incoming ON CONFLICT DO NOTHING"  # noqa: S608 (quoted)
        )
        connection.exec_driver_sql("DROP TABLE incoming")


def upsert_rows(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    """Insert rows (dictionaries by column key); where a key is there already, the new row takes its place."""
    if not rows:
        return
    insert = (postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert)(table)
    keys = {column.key for column in table.primary_key}
    changed = {column.name: insert.excluded[column.key] for column in table.columns if column.key not in keys}
    connection.execute(insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed), rows)
