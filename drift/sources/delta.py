"""Delta tables in a local folder as a source, read by DuckDB. Needs the extras `leeway[delta]` and `leeway[duckdb]`.

DuckDB's own extension for Delta would be downloaded at run time. It reads the files that Delta names instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from drift.sources.duckdb import DuckDBSource, memory_source
from drift.sources.errors import SourceError
from leeway.store.delta import delta_errors, open_table
from leeway.store.predictions import PredictionLogError

if TYPE_CHECKING:
    from deltalake import DeltaTable

_LOG: Final = "_delta_log"
_LABELS: Final = {"prediction_id", "label", "labelled_at"}
"""The columns of Leeway's own table of labels."""
_TYPES: Final = {
    "string": "VARCHAR", "long": "BIGINT", "integer": "INTEGER", "short": "SMALLINT", "double": "DOUBLE",
    "float": "FLOAT", "boolean": "BOOLEAN", "date": "DATE", "timestamp": "TIMESTAMPTZ", "timestamp_ntz": "TIMESTAMP",
}  # fmt: skip


def delta_source(location: str, name: str) -> DuckDBSource:
    """Open a Delta table, or all Delta tables in a folder, as they are now.

    Raises:
        SourceError: what is needed is not installed, or there is no table.
    """
    if "://" in location:
        raise SourceError("only Delta tables in local folders can be read: copy or mount the bucket", source=name)
    folder = Path(location)
    found = [folder] if (folder / _LOG).is_dir() else sorted(each.parent for each in folder.glob(f"*/{_LOG}"))
    if not found:
        raise SourceError("there is no Delta table", source=name)
    views = {each.resolve().name: _rows(each, name) for each in found}
    return memory_source(name, views)


def _rows(folder: Path, name: str) -> str:
    """The statement that selects the rows of a table: as its columns are named and typed, also without files."""
    try:
        with delta_errors(str(folder)):
            table = open_table(str(folder))
            files, columns = _files(table), _columns(table)
            partitions = table.metadata().partition_columns
    except PredictionLogError as error:
        raise SourceError(str(error), source=name) from error
    stored = {column: kind for column, kind in columns.items() if column not in partitions}
    if not files:
        return (
            f"SELECT {', '.join(f'NULL::{kind} AS {_quoted(column)}' for column, kind in stored.items())} WHERE false"
        )
    names = ", ".join(_quoted(column) for column in stored)
    paths = ", ".join("'" + each.replace("'", "''") + "'" for each in files)
    rows = f"SELECT {names} FROM read_parquet([{paths}], union_by_name = true, hive_partitioning = false)"  # noqa: S608 (quoted)
    return _last_labels(rows) if stored.keys() == _LABELS else rows


def _last_labels(rows: str) -> str:
    """The last label of each prediction: Leeway's own labels are only appended."""
    last = "arg_max(label, labelled_at) AS label, max(labelled_at) AS labelled_at"
    return f"SELECT prediction_id, {last} FROM ({rows}) GROUP BY prediction_id"  # noqa: S608 (our own statement)


def _columns(table: DeltaTable) -> dict[str, str]:
    """The columns and their types in DuckDB."""
    fields: Sequence[Any] = table.schema().fields
    return {each.name: _TYPES.get(getattr(each.type, "type", ""), "VARCHAR") for each in fields}


def _files(table: DeltaTable) -> list[str]:
    """The paths of a table's files. Only the table's folder is escaped in them: partitions have their names on disk."""
    folder = table.table_uri.removeprefix("file://")
    paths = [uri.removeprefix("file://") for uri in table.file_uris()]
    return [unquote(folder) + path.removeprefix(folder) if path.startswith(folder) else path for path in paths]


def _quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'
