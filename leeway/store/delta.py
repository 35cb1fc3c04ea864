"""The prediction log as Delta tables, in a local folder or in S3. Needs the extra `leeway[delta]`.

Each feature schema has a table of predictions and one of labels, with the names and columns of those in the database,
and a column with the day, by which they are partitioned. Several processes may append at once. Labels are only
appended: of several for a prediction the last one counts.
"""

from __future__ import annotations

import re
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import sqlalchemy as sa

from leeway.schema import FeatureSchema
from leeway.store.engine import create_tables, translated
from leeway.store.erasures import erased_among, lock_storing
from leeway.store.predictions import PredictionLogError, RecordRejected
from leeway.store.record import RECORD_COLUMNS, PredictionRecord
from leeway.store.tables import PREDICTED_ON, Tables, UtcDateTime, feature_key, probability_keys, tables_for, utc

if TYPE_CHECKING:
    from arro3.core import Table
    from deltalake import DeltaTable

LABELLED_ON: Final = "labelled_on"
MOST_LABELS: Final = 10_000
"""Up to so many labels are moved at a time."""
_CONFIGURATION: Final = {
    "delta.dataSkippingStatsColumns": "",  # the log keeps values for a week: no customer's id among them
    "delta.logRetentionDuration": "interval 7 days",
    "delta.deletedFileRetentionDuration": "interval 7 days",
    "delta.setTransactionRetentionDuration": "interval 30 days",
}
"""A segment of the spool is one application: its position is kept so long after its last records."""
_REMOTE_OPTIONS: Final = {"timeout": "10s", "max_retries": "2", "retry_timeout": "10s"}
"""Records can wait in the spool, so an outage is reported soon."""
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_FLAGS: Final = {False: False, True: True}
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_record_values = attrgetter(*RECORD_COLUMNS)


class DeltaLog:
    """The predictions and labels of one feature schema. Create the tables first (`create`).

    The database holds the tombstones of customers, and labels until they are moved.
    """

    def __init__(self, location: str, engine: sa.Engine, tables: Tables) -> None:
        self._engine = engine
        self._tables = tables
        self._predictions = uri_of(location, tables.predictions.name)
        self._labels = uri_of(location, tables.prediction_labels.name)
        probabilities = probability_keys(tables.schema.target)
        self._has_probabilities = bool(probabilities)
        keys = (*RECORD_COLUMNS, *map(feature_key, tables.schema.names), *probabilities)
        self._columns = [tables.predictions.c[key] for key in keys]
        self._opened: DeltaTable | None = None

    def create(self) -> bool:
        """Create the tables that are missing; return whether any was.

        Raises:
            PredictionLogError: a table cannot be created; another process may be creating it.
        """
        made = _create(self._predictions, [*self._columns, _day(PREDICTED_ON)], PREDICTED_ON)
        return _create(self._labels, [*self._tables.prediction_labels.c, _day(LABELLED_ON)], LABELLED_ON) or made

    def write_batch(self, records: Sequence[PredictionRecord], source: str, ends: Sequence[int]) -> None:
        """Store the records in one commit, exactly once, and drop those of customers whose data was deleted.

        `ends` are positions in `source`, which only grow: one for each record, in order. Records up to the last
        position that was committed for this source are skipped, but a rejected one among them is rejected again. Only
        one process may write from a source at a time.

        Raises:
            RecordRejected: one of them can never be stored; the others may be valid.
            PredictionLogError: the table or the database is unreachable, or the table does not exist.
        """
        with translated(into=PredictionLogError), self._engine.begin() as connection:
            lock_storing(connection)
            erased = erased_among(connection, self._tables.erasures, records)
            if erased:
                labels = self._tables.prediction_labels
                connection.execute(sa.delete(labels).where(labels.c.prediction_id.in_(erased)))
            try:
                self._append(records, source, ends, erased)
            except PredictionLogError as error:
                if not isinstance(error, RecordRejected):
                    self._opened = None
                raise

    def _append(self, records: Sequence[PredictionRecord], source: str, ends: Sequence[int], erased: set[str]) -> None:
        with delta_errors(self._predictions):
            kept = [
                (record, end) for record, end in zip(records, ends, strict=True) if record.prediction_id not in erased
            ]
            if not kept:
                return
            # Before stored records are skipped: a rejected one is not stored, even if the position is beyond it.
            rows = _arrow_rows(self._columns, [self._row(record) for record, _ in kept], PREDICTED_ON)
            if self._opened is None:
                self._opened = open_table(self._predictions)
            self._opened.update_incremental()
            position = self._opened.transaction_version(source)
            stored = 0 if position is None else bisect_right([end for _, end in kept], position)
            if stored < len(kept):
                _append(self._opened, rows.slice(stored), (source, ends[-1]))

    def _row(self, record: PredictionRecord) -> tuple[Any, ...]:
        return (*_record_values(record), *record.features, *(record.probabilities if self._has_probabilities else ()))

    def move_labels(self) -> int:
        """Move labels from the database to their Delta table, at most `MOST_LABELS`; return how many.

        A label that is moved twice, because the process was killed between the two, does no harm.

        Raises:
            PredictionLogError: the table or the database is unreachable, or the table does not exist.
        """
        labels = self._tables.prediction_labels
        # Locked until they are in the Delta table, so that an erasure finds each of them in one of the two.
        oldest = sa.select(labels).order_by(labels.c.labelled_at).limit(MOST_LABELS).with_for_update(skip_locked=True)
        same = sa.delete(labels).where(
            labels.c.prediction_id == sa.bindparam("moved_id"), labels.c.labelled_at == sa.bindparam("moved_at")
        )
        with translated(into=PredictionLogError), self._engine.begin() as connection:
            lock_storing(connection)
            found = connection.execute(oldest).all()
            if not found:
                return 0
            with delta_errors(self._labels):
                _append(open_table(self._labels), _arrow_rows(list(labels.c), found, LABELLED_ON))
            connection.execute(same, [{"moved_id": row.prediction_id, "moved_at": row.labelled_at} for row in found])
        return len(found)


def create_delta_tables(location: str, engine: sa.Engine, schema: FeatureSchema) -> bool:
    """Create the Delta tables of a schema that are missing, and its tables in the database; return whether any was.

    Raises:
        DatabaseError: the database is unreachable.
        PredictionLogError: a table cannot be created; another process may be creating it.
    """
    tables = tables_for(schema)
    create_tables(engine, tables)
    return DeltaLog(location, engine, tables).create()


def uri_of(location: str, table: str) -> str:
    """Where a table is."""
    return f"{location.rstrip('/')}/{table}"


def open_table(uri: str) -> DeltaTable:
    """Open a table as it is now; use it inside `delta_errors`."""
    from deltalake import DeltaTable  # noqa: PLC0415 (optional)

    return DeltaTable(uri, storage_options=storage_options(uri))


def storage_options(uri: str) -> dict[str, str] | None:
    """The options of a table's storage; credentials come from the environment (`AWS_*`)."""
    return _REMOTE_OPTIONS if "://" in uri else None


@contextmanager
def delta_errors(uri: str) -> Iterator[None]:
    """Raise the errors of Delta and of its storage as `PredictionLogError` about the table.

    It is also what says that the extra is not installed, so enter it before anything is imported from deltalake.
    """
    try:
        from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError  # noqa: PLC0415 (optional)
    except ImportError as error:
        raise PredictionLogError("deltalake is not installed: install leeway[delta]") from error
    try:
        yield
    except TableNotFoundError as error:
        raise PredictionLogError(f"there is no Delta table at {uri}: run `leeway log create`") from error
    except CommitFailedError as error:
        raise PredictionLogError(f"Delta table {uri}: another process changed it: {_first_line(error)}") from error
    except (DeltaError, OSError) as error:
        raise PredictionLogError(f"Delta table {uri}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return _COLOURS.sub("", str(error)).strip().splitlines()[0]


def _create(uri: str, columns: Sequence[sa.Column[Any]], partition: str) -> bool:
    with delta_errors(uri):
        from arro3.core import Field, Schema  # noqa: PLC0415 (optional)
        from deltalake import DeltaTable  # noqa: PLC0415 (optional)

        if DeltaTable.is_deltatable(uri, storage_options=storage_options(uri)):
            return False
        schema = Schema([Field(each.name, _array(each, []).type, nullable=bool(each.nullable)) for each in columns])
        DeltaTable.create(
            uri,
            schema,
            partition_by=[partition],
            configuration=dict(_CONFIGURATION),
            storage_options=storage_options(uri),
        )
        return True


def _arrow_rows(columns: Sequence[sa.Column[Any]], rows: Sequence[Sequence[Any]], partition: str) -> Table:
    """Rows as an Arrow table; their days are those of the column of times.

    Raises:
        RecordRejected: a value does not belong in its column.
    """
    from arro3.core import Field, Schema, Table  # noqa: PLC0415 (optional)

    time_column = next(place for place, column in enumerate(columns) if isinstance(column.type, UtcDateTime))
    with _rejecting():
        values = list(zip(*rows, strict=True))
        days = [utc(moment).date() for moment in values[time_column]]
        filled = [*zip(columns, values, strict=True), (_day(partition), days)]
        arrays = [_array(column, each) for column, each in filled]
    fields = [
        Field(column.name, array.type, nullable=bool(column.nullable))
        for (column, _), array in zip(filled, arrays, strict=True)
    ]
    return Table.from_arrays(arrays, schema=Schema(fields))


def _append(table: DeltaTable, rows: Table, position: tuple[str, int] | None = None) -> None:
    """Append rows in one commit; `position` is kept with them."""
    from deltalake import CommitProperties, Transaction, WriterProperties, write_deltalake  # noqa: PLC0415 (optional)

    transactions = [Transaction(*position, last_updated=int(time.time() * 1_000))] if position else None
    write_deltalake(
        table,
        rows,
        mode="append",
        writer_properties=WriterProperties(compression="ZSTD"),
        commit_properties=CommitProperties(app_transactions=transactions),
    )


@contextmanager
def _rejecting() -> Iterator[None]:
    """Raise what has no place in a column as `RecordRejected`."""
    try:
        yield
    except (TypeError, ValueError, OverflowError, KeyError, AttributeError) as error:
        raise RecordRejected(str(error)) from error


def _array(column: sa.Column[Any], values: Sequence[Any]) -> Any:  # noqa: ANN401 (arro3 has no stable types)
    """The values of a column as an Arrow array.

    Raises:
        TypeError, ValueError, OverflowError, KeyError, AttributeError: a value does not belong there.
    """
    from arro3.core import Array, DataType  # noqa: PLC0415 (optional)

    if not column.nullable and None in values:
        raise ValueError(f"{column.name} is missing")
    match column.type:
        case sa.Boolean():
            return Array([None if each is None else _FLAGS[each] for each in values], type=DataType.bool())
        case UtcDateTime():
            passed = [None if each is None else (utc(each) - _EPOCH) // _MICROSECOND for each in values]
            return Array(passed, type=DataType.int64()).cast(DataType.timestamp("us", tz="UTC"))
        case sa.Date():
            days = [None if each is None else each.toordinal() - _EPOCH.toordinal() for each in values]
            return Array(days, type=DataType.int32()).cast(DataType.date32())
    plain = {sa.SmallInteger: DataType.int16, sa.BigInteger: DataType.int64, sa.Double: DataType.float64}
    return Array(values, type=plain.get(type(column.type), DataType.utf8)())


def _day(name: str) -> sa.Column[date]:
    return sa.Column(name, sa.Date, nullable=False)
