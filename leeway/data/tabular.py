"""Training data: reads any CSV or Parquet file, infers its feature schema, and builds typed frames."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from leeway.data.csv_table import (
    FLAGS,
    INTEGER,
    NUMBER,
    CellReader,
    TableError,
    check_header,
    feature_reader,
    read_chunks,
    read_csv,
)
from leeway.schema import INT64_MAX, INT64_MIN, Feature, FeatureSchema, Kind

MAX_CATEGORIES = 100
PARQUET = frozenset({".parquet", ".pq"})
MISSING_TEXTS: Final = frozenset(
    {
        *("", "NA", "N/A", "n/a", "<NA>", "#N/A", "#NA", "#N/A N/A", "NULL", "null", "None"),
        *("NaN", "nan", "-NaN", "-nan", "1.#IND", "-1.#IND", "1.#QNAN", "-1.#QNAN"),
    }
)
"""The texts that pandas reads as missing by default."""
_DTYPES: Final[Mapping[Kind, Any]] = {"number": "float64", "integer": "Int64", "flag": "boolean"}
_LABELS: Final = {"true": 1, "yes": 1, "false": 0, "no": 0}
_LABEL_REASON: Final = "must be 0 or 1, true or false, yes or no"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}( .*)?")
_INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
_BEYOND_64_BITS = "has integers beyond 64 bits; drop it, or name it with --id if it identifies a row"
_HAS_INFINITE = "has an infinite number; leave it empty or drop the column"
_EMPTY = "has no values; drop it"
_TEXT = Feature("text", "category")
_Column = TypeVar("_Column")


@dataclass(frozen=True)
class TrainingData:
    """The features of n rows as a typed frame, with their schema and labels (0 or 1)."""

    schema: FeatureSchema
    frame: pd.DataFrame
    labels: NDArray[np.int64]


def read_table(path: Path, *, target: str, id_column: str | None = None) -> TrainingData:
    """Read a table and infer its schema: every column except the target and the id is a feature.

    Raises:
        TableError: the file cannot be read, or a column cannot be a feature or the target.
    """
    excluded = [target] if id_column is None else [target, id_column]
    if target == id_column:
        raise TableError(f"column {target!r} cannot be both target and id", file=path.name)
    read = _read_parquet if path.suffix.lower() in PARQUET else _read_csv
    schema, columns, labels = read(path, target, excluded)
    if len(set(labels)) < 2:  # noqa: PLR2004 (two classes)
        raise TableError("has only one class; a model needs both", file=path.name, column=target)
    return TrainingData(schema, typed_frame(schema, columns), np.array(labels, dtype=np.int64))


def typed_frame(schema: FeatureSchema, columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """A frame of the schema's features, in its order: float64, Int64, boolean or text. Other columns are dropped.

    None, NaN, pandas' NA and empty text are missing values.

    Raises:
        KeyError: a feature has no column.
        TypeError, ValueError, OverflowError: a value is not of its feature's kind.
    """
    return pd.DataFrame({feature.name: _typed(feature.kind, columns[feature.name]) for feature in schema})


def _typed(kind: Kind, values: Sequence[Any]) -> pd.Series[Any]:
    series: pd.Series[Any] = pd.Series(list(values), dtype="object")
    series = series.where(series.notna(), None)
    if kind != "category":
        return series.astype(_DTYPES[kind])
    return pd.Series([None if value is None or value == "" else str(value) for value in series], dtype="object")


def infer_schema(frame: pd.DataFrame, *, file: str | None = None) -> FeatureSchema:
    """Infer the kind of each column, and that it is nullable if a value is missing. Empty text is missing.

    Whole numbers are integers, also with gaps, for which pandas uses 64-bit floats. An inferred feature has no limits
    beyond those of its kind.

    Raises:
        TableError: a column is empty, a duplicate, of an unsupported type, or text with too many different values.
    """
    check_header(list(map(str, frame.columns)), file=file)
    return _schema({str(name): values for name, values in frame.items()}, _feature_of_series, file)


def _schema(
    columns: Mapping[str, _Column], infer: Callable[[str, _Column], Feature], file: str | None
) -> FeatureSchema:
    if not columns:
        raise TableError("no column is left to be a feature", file=file)
    features = []
    for name, column in columns.items():
        try:
            features.append(infer(name, column))
        except ValueError as error:
            raise TableError(str(error), file=file, column=name) from error
    return FeatureSchema(tuple(features))


# --- CSV ------------------------------------------------------------------------------------------------------------
def _read_csv(
    path: Path, target: str, excluded: Sequence[str]
) -> tuple[FeatureSchema, Mapping[str, Sequence[Any]], list[int]]:
    """Infer the schema in a first pass over the file, and read its values in a second one."""
    scans: dict[str, _TextColumn] = {}
    for chunk in read_chunks(path, excluded, lenient=True):
        for name, texts in chunk.columns.items():
            if name not in excluded:
                scans.setdefault(name, _TextColumn()).add(texts)
    schema = _schema(scans, _feature_of_texts, path.name)
    readers: dict[str, CellReader] = {feature.name: _reader(feature) for feature in schema}
    columns = read_csv(path, {**readers, target: _read_label}, lenient=True).columns
    return schema, columns, columns.pop(target)


class _TextColumn:
    """What a CSV column's texts look like."""

    def __init__(self) -> None:
        self.nullable = False
        self.looks: set[str] = set()
        self.texts: set[str] = set()
        """Different texts, as many as are needed to know that they are too many."""

    def add(self, texts: Iterable[str]) -> None:
        for text in set(texts) - self.texts:
            if text in MISSING_TEXTS:
                self.nullable = True
                continue
            self.looks.add(_look(text))
            if len(self.texts) <= MAX_CATEGORIES:
                self.texts.add(text)


def _look(text: str) -> str:
    number = text.strip()
    if INTEGER.fullmatch(number):
        return "integer" if len(number) < 19 or INT64_MIN <= int(number) <= INT64_MAX else "long integer"  # noqa: PLR2004
    if NUMBER.fullmatch(number):
        return "number"
    if _INFINITE.fullmatch(number):
        return "infinite"
    if text.lower() in FLAGS:
        return "flag"
    return "date" if _DATE.fullmatch(text) else "text"


def _feature_of_texts(name: str, column: _TextColumn) -> Feature:
    looks = column.looks
    if not looks:
        raise ValueError(_EMPTY)
    if "long integer" in looks and "number" not in looks:
        raise ValueError(_BEYOND_64_BITS)
    if looks <= {"integer", "long integer", "number", "infinite"}:
        if "infinite" in looks:
            raise ValueError(_HAS_INFINITE)
        return Feature(name, "integer" if looks == {"integer"} else "number", nullable=column.nullable)
    if looks == {"flag"}:
        return Feature(name, "flag", nullable=column.nullable)
    _check_texts(sorted(column.texts))
    return Feature(name, "category", nullable=column.nullable)


def _reader(feature: Feature) -> CellReader:
    read = feature_reader(feature, MISSING_TEXTS)
    return read if feature.kind == "category" else lambda text: read(text.strip())


def _read_label(text: str) -> int:
    label = _label(text)
    if label is None:
        raise ValueError(_LABEL_REASON)
    return label


def _label(value: object) -> int | None:
    text = str(value).strip().lower()
    try:
        return _LABELS[text] if text in _LABELS else {0.0: 0, 1.0: 1}.get(float(text))
    except ValueError:
        return None


# --- Parquet and frames ---------------------------------------------------------------------------------------------
def _read_parquet(
    path: Path, target: str, excluded: Sequence[str]
) -> tuple[FeatureSchema, Mapping[str, Sequence[Any]], list[int]]:
    import pyarrow.parquet  # noqa: PLC0415 (only for Parquet)

    try:
        check_header(list(pyarrow.parquet.read_schema(path).names), excluded, file=path.name)
        frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
    except TableError:
        raise
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
        raise TableError(f"cannot be read: {reason}", file=path.name) from error
    if frame.empty:
        raise TableError("has no rows", file=path.name)
    labels = [_label(value) for value in frame[target].astype("object")]
    if None in labels:
        invalid = frame[target].iloc[labels.index(None)]
        value = None if pd.isna(invalid) else str(invalid)
        raise TableError(_LABEL_REASON, file=path.name, column=target, value=value)
    schema = infer_schema(frame.drop(columns=excluded), file=path.name)
    return schema, {name: frame[name].tolist() for name in schema.names}, [int(label or 0) for label in labels]


def _feature_of_series(name: str, values: pd.Series[Any]) -> Feature:
    missing = values.isna()
    if not types.is_numeric_dtype(values):
        missing |= values.map(lambda value: isinstance(value, str) and not value)
    present, nullable = values[~missing], bool(missing.any())
    if present.empty:
        raise ValueError(_EMPTY)
    return Feature(name, _kind(present, gaps=nullable), nullable=nullable)


def _kind(values: pd.Series[Any], *, gaps: bool) -> Kind:
    typed = values.convert_dtypes() if values.dtype == object else values
    if types.is_bool_dtype(typed):
        return "flag"
    if types.is_integer_dtype(typed):
        if int(typed.min()) < INT64_MIN or int(typed.max()) > INT64_MAX:
            raise ValueError(_BEYOND_64_BITS)
        return "integer"
    if types.is_float_dtype(typed):
        return _kind_of_floats(typed, gaps=gaps)
    if not isinstance(typed.dtype, pd.CategoricalDtype) and not types.is_string_dtype(typed):
        raise ValueError(f"has the unsupported type {values.dtype}; convert it to numbers or drop it")
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
    if all(_DATE.fullmatch(text) for text in texts):
        raise ValueError(f"has dates ({texts[0]!r}), which are not a feature; convert it to numbers or drop it")
    if len(texts) > MAX_CATEGORIES:
        raise ValueError(
            f"is text with more than {MAX_CATEGORIES} different values; drop it, group it, or name it with --id if it"
            " identifies a row"
        )
