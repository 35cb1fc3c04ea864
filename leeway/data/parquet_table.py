"""Reads the columns of a Parquet file, and locates every fault by file, row, column and value."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from leeway.data.csv_table import TableError, check_header
from leeway.data.text_column import BEYOND_64_BITS, DATE_HINT

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

PARQUET: Final = frozenset({".parquet", ".pq"})


class ParquetTable:
    """An open file. A column is read when it is asked for, and not kept."""

    def __init__(self, file: pq.ParquetFile, name: str) -> None:
        self._file = file
        self.file = name
        self.names: list[str] = list(file.schema_arrow.names)

    def check(self, required: Collection[str]) -> None:
        """Require these columns, each column once, and a row.

        Raises:
            TableError: with what is wrong.
        """
        check_header(self.names, required, file=self.file)
        if not self._file.metadata.num_rows:
            raise TableError("has no rows", file=self.file)

    def is_text(self, name: str) -> bool:
        """Whether the column is text, also with a dictionary.

        Raises:
            TableError: the column has a type that is neither text nor a number nor a flag.
        """
        import pyarrow.types as kinds  # noqa: PLC0415 (only for Parquet)

        found = self._file.schema_arrow.field(name).type
        value = found.value_type if kinds.is_dictionary(found) else found
        if (
            kinds.is_string(value)
            or kinds.is_large_string(value)
            or kinds.is_string_view(value)
            or kinds.is_null(value)
        ):
            return True
        if kinds.is_integer(value) or kinds.is_floating(value) or kinds.is_boolean(value):
            return False
        hint = "convert it to a number or text, or leave it out with --drop"
        if kinds.is_temporal(value):
            hint = DATE_HINT
        raise TableError(f"has the Parquet type {found}, which is not a feature; {hint}", file=self.file, column=name)

    def texts(self, name: str) -> list[str]:
        """The values as a CSV file has them: an empty text is missing. The column is text, a number or a flag."""
        import pyarrow as pa  # noqa: PLC0415 (only for Parquet)

        return list(self._read(name).cast(pa.string()).fill_null("").to_pylist())

    def series(self, name: str) -> pd.Series[Any]:
        """A column of numbers or flags as float64, Int64 or boolean.

        Raises:
            TableError: an integer needs more than 64 bits.
        """
        import pyarrow as pa  # noqa: PLC0415 (only for Parquet)

        column = self._read(name)
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_boolean(column.type):
            return pd.Series(column.to_pandas(types_mapper=lambda _: pd.BooleanDtype()))
        if pa.types.is_floating(column.type):
            return pd.Series(column.cast(pa.float64()).to_pandas())
        try:
            return pd.Series(column.cast(pa.int64()).to_pandas(types_mapper=lambda _: pd.Int64Dtype()))
        except pa.ArrowInvalid as error:
            raise TableError(BEYOND_64_BITS, file=self.file, column=name) from error

    def _read(self, name: str) -> pa.ChunkedArray:
        return self._file.read([name]).column(name)


@contextmanager
def opened(path: Path, required: Collection[str]) -> Iterator[ParquetTable]:
    """Open a file that has the required columns, each of its columns once, and a row.

    Raises:
        TableError: it has not, or cannot be read.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415 (only for Parquet)

    try:
        with pq.ParquetFile(path) as file:
            table = ParquetTable(file, path.name)
            table.check(required)
            yield table
    except TableError:
        raise
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
        raise TableError(f"cannot be read: {reason}", file=path.name) from error
