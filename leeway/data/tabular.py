"""Training data: reads any CSV or Parquet file, infers its feature schema, and builds typed frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from leeway.data.cells import PLAIN, look_of
from leeway.data.column_values import ColumnValues
from leeway.data.csv_table import CHUNK_ROWS, TableError, check_header, find_separator, read_chunks
from leeway.data.parquet_table import PARQUET, ParquetTable, opened
from leeway.data.suspects import suspects
from leeway.data.target import TargetColumn
from leeway.data.text_column import BEYOND_64_BITS, DATE_HINT, EMPTY, CellOptions, TextColumn
from leeway.schema import INT64_MAX, INT64_MIN, Feature, FeatureSchema, Kind, SchemaError, Target, Task

_DTYPES: Final[Mapping[Kind, Any]] = {"number": "float64", "integer": "Int64", "flag": "boolean"}
_HAS_INFINITE: Final = "has an infinite number; leave it empty or drop the column"
_TEXT = Feature("text", "category")
_CELLS = CellOptions()


@dataclass(frozen=True)
class ReadOptions:
    """How to read a table: `excluded` columns, which identify a row or are to be left out, the separator, the cells.

    Without `separator` that of a CSV file is recognized. `positive` names the positive class of the target, `task` what
    is predicted; else the target's values tell.
    """

    excluded: tuple[str, ...] = ()
    separator: str | None = None
    positive: str | None = None
    task: Task | None = None
    cells: CellOptions = _CELLS


@dataclass(frozen=True)
class TrainingData:
    """The features of n rows as a typed frame, with their schema, and labels: classes of its target, or numbers.

    `notes` say how cells were read where a reader of the file may expect otherwise; `warnings` name columns that make
    the model's figures look too good.
    """

    schema: FeatureSchema
    frame: pd.DataFrame
    labels: NDArray[Any]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_table(path: Path, *, target: str, options: ReadOptions | None = None) -> TrainingData:
    """Read a table and infer its schema: every column except the target and the excluded ones is a feature.

    Texts follow the same rules in a CSV file and in a Parquet file.

    Raises:
        TableError: the file cannot be read, or a column cannot be a feature or the target; all such columns are named.
    """
    options = options or ReadOptions()
    if target in options.excluded:
        raise TableError(f"column {target!r} cannot be both the target and left out", file=path.name)
    required = [target, *options.excluded, *sorted(options.cells.text)]
    if path.suffix.lower() in PARQUET:
        with opened(path, required) as table:
            read = _read_parquet(table, target, options)
    else:
        read = _read_csv(path, target, required, options)
    if not read.features:
        raise TableError("no column is left to be a feature", file=path.name)
    frame = pd.DataFrame(read.columns, copy=False)
    warnings = tuple(suspects(frame, read.labels, read.target))
    return TrainingData(
        FeatureSchema(tuple(read.features), read.target), frame, read.labels, tuple(read.notes), warnings
    )


@dataclass
class _Read:
    """What was read of a file so far: features, with a typed column and notes each, and labels."""

    target: Target
    labels: NDArray[Any]
    features: list[Feature] = field(default_factory=list)
    columns: dict[str, pd.Series[Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class _Faults:
    """What is wrong with the columns of a file, so that one error names them all."""

    file: str
    found: list[TableError] = field(default_factory=list)

    @contextmanager
    def of(self, column: str) -> Iterator[None]:
        """Keep a ValueError as a fault of this column, and continue after the block."""
        try:
            yield
        except TableError as error:
            self.found.append(error)
        except ValueError as error:
            if type(error) not in (ValueError, SchemaError):  # Arrow's, of a damaged file
                raise
            self.found.append(TableError(str(error), file=self.file, column=column))

    def check(self) -> None:
        """Raise what was found, one line a column."""
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            listed = "\n".join(f"  {str(error).removeprefix(f'{self.file}, ')}" for error in self.found)
            raise TableError(f"{len(self.found)} columns cannot be read as they are:\n{listed}", file=self.file)


def _read_csv(path: Path, target: str, required: Sequence[str], options: ReadOptions) -> _Read:
    """Infer the features in a first pass over the file, and read their values in a second one."""
    separator = options.separator or find_separator(path)
    column = TargetColumn(target, number_format=options.cells.number_format)
    scans, notes = dict[str, TextColumn](), list[str]() if separator == "," else [f"the separator is {separator!r}"]
    for chunk in read_chunks(path, required, lenient=True, separator=separator, notes=notes):
        column.add(chunk.lines, chunk.columns[target])
        for name, texts in chunk.columns.items():
            if name != target and name not in options.excluded:
                scans.setdefault(name, TextColumn(name, options.cells)).add(chunk.lines, texts)
    faults, features = _Faults(path.name), list[Feature]()
    with faults.of(target):
        cells = column.cells(options.positive, options.task)
    for name, scan in scans.items():
        with faults.of(name):
            features.append(scan.feature())
    faults.check()
    values, labels = [ColumnValues(feature, options.cells) for feature in features], list[NDArray[Any]]()
    for chunk in read_chunks(path, required, lenient=True, separator=separator):
        labels.append(cells.labels(chunk.columns[target]))
        for each in values:
            each.extend(chunk.columns[each.feature.name], chunk.lines, path.name, "line")
    notes += [note for scan, feature in zip(scans.values(), features, strict=True) for note in scan.notes(feature.kind)]
    typed = {each.feature.name: each.series() for each in values}
    return _Read(cells.target, np.concatenate(labels), features, typed, notes)


def _read_parquet(table: ParquetTable, target: str, options: ReadOptions) -> _Read:
    number_format = options.cells.number_format if table.is_text(target) else PLAIN
    column, texts = TargetColumn(target, "row", number_format), table.texts(target)
    column.add(range(1, len(texts) + 1), texts)
    faults, features, notes = _Faults(table.file), list[Feature](), list[str]()
    columns: dict[str, pd.Series[Any]] = {}
    with faults.of(target):
        cells = column.cells(options.positive, options.task)
    for name in table.names:
        if name == target or name in options.excluded:
            continue
        with faults.of(name):
            if table.is_text(name) or name in options.cells.text:
                feature, columns[name] = _read_texts(table, name, options.cells, notes)
            else:
                feature, columns[name] = _read_series(table, name, options.cells)
            features.append(feature)
    faults.check()
    return _Read(cells.target, cells.labels(texts), features, columns, notes)


def _read_series(table: ParquetTable, name: str, cells: CellOptions) -> tuple[Feature, pd.Series[Any]]:
    """A column of another type than text."""
    series = table.series(name)
    feature = _feature_of_series(name, series)
    typed = _typed(feature.kind, series)
    if feature.kind == "category":
        cells.check_categories(name, typed.nunique())
    return feature, typed


def _read_texts(table: ParquetTable, name: str, cells: CellOptions, notes: list[str]) -> tuple[Feature, pd.Series[Any]]:
    """A column of texts, by the rules of a CSV file's."""
    texts, scan = table.texts(name), TextColumn(name, cells, "row")
    parts = [
        (range(start + 1, start + 1 + CHUNK_ROWS), texts[start : start + CHUNK_ROWS])
        for start in range(0, len(texts), CHUNK_ROWS)
    ]
    for rows, part in parts:
        scan.add(rows, part)
    feature = scan.feature()
    notes += scan.notes(feature.kind)
    values = ColumnValues(feature, cells)
    for rows, part in parts:
        values.extend(part, rows, table.file, "row")
    return feature, values.series()


# --- frames ---------------------------------------------------------------------------------------------------------
def typed_frame(schema: FeatureSchema, columns: Mapping[str, Sequence[Any]] | pd.DataFrame) -> pd.DataFrame:
    """A frame of the schema's features, in its order: float64, Int64, boolean or text. Other columns are dropped.

    None, NaN, pandas' NA and empty text are missing values.

    Raises:
        KeyError: a feature has no column.
        TypeError, ValueError, OverflowError: a value is not of its feature's kind.
    """
    return pd.DataFrame({feature.name: _typed(feature.kind, columns[feature.name]) for feature in schema}, copy=False)


def _typed(kind: Kind, values: Sequence[Any] | pd.Series[Any]) -> pd.Series[Any]:
    if isinstance(values, pd.Series) and kind != "category" and values.dtype != object:
        return values.reset_index(drop=True).astype(_DTYPES[kind])
    series: pd.Series[Any] = pd.Series(list(values), dtype="object")
    series = series.where(series.notna(), None)
    if kind != "category":
        return series.astype(_DTYPES[kind])
    return pd.Series([None if value is None or value == "" else str(value) for value in series], dtype="object")


def infer_schema(frame: pd.DataFrame) -> FeatureSchema:
    """Infer the kind of each column, and that it is nullable if a value is missing. Empty text is missing.

    Whole numbers are integers, also with gaps, for which pandas uses 64-bit floats. An inferred feature has no limits
    beyond those of its kind.

    Raises:
        TableError: a column is empty, a duplicate, of an unsupported type, or text with too many different values.
    """
    check_header(list(map(str, frame.columns)))
    if frame.columns.empty:
        raise TableError("no column is left to be a feature")
    features = []
    for name, values in frame.items():
        try:
            features.append(_feature_of_series(str(name), values))
        except ValueError as error:
            raise TableError(str(error), column=str(name)) from error
    return FeatureSchema(tuple(features))


def _feature_of_series(name: str, values: pd.Series[Any]) -> Feature:
    missing = values.isna()
    if not types.is_numeric_dtype(values):
        missing |= values.map(lambda value: isinstance(value, str) and not value)
    present, nullable = values[~missing], bool(missing.any())
    if present.empty:
        raise ValueError(EMPTY)
    return Feature(name, _kind(present, gaps=nullable), nullable=nullable)


def _kind(values: pd.Series[Any], *, gaps: bool) -> Kind:
    typed = values.convert_dtypes() if values.dtype == object else values
    if types.is_bool_dtype(typed):
        return "flag"
    if types.is_integer_dtype(typed):
        if int(typed.min()) < INT64_MIN or int(typed.max()) > INT64_MAX:
            raise ValueError(BEYOND_64_BITS)
        return "integer"
    if types.is_float_dtype(typed):
        return _kind_of_floats(typed, gaps=gaps)
    if not isinstance(typed.dtype, pd.CategoricalDtype) and not types.is_string_dtype(typed):
        hint = DATE_HINT if types.is_datetime64_any_dtype(typed) else "convert it to numbers or drop it"
        raise ValueError(f"has the unsupported type {values.dtype}; {hint}")
    texts = list(typed.astype(str).unique())
    _check_texts(texts)
    if reason := next(filter(None, map(_TEXT.problem, texts)), None):
        raise ValueError(f"has a text that {reason}")
    return "category"


def _kind_of_floats(values: pd.Series[Any], *, gaps: bool) -> Kind:
    numbers = values.to_numpy(dtype=np.float64)
    if np.isinf(numbers).any():
        raise ValueError(_HAS_INFINITE)
    whole = (numbers == np.trunc(numbers)).all() and (np.abs(numbers) <= 2**53).all()
    return "integer" if gaps and whole and values.dtype == np.float64 else "number"


def _check_texts(texts: Sequence[str]) -> None:
    """Reject dates and too many different texts."""
    if all(look_of(text, PLAIN, ()) == "date" for text in texts):
        raise ValueError(f"has dates ({texts[0]!r}), which are not a feature; {DATE_HINT}")
    _CELLS.check_categories("", len(texts))
