"""Any CSV or Parquet file: read it, and infer the feature schema it implies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas.api import types

from leeway.data.frames import typed_frame
from leeway.schema import INT64_MAX, INT64_MIN, Feature, FeatureSchema, Kind, SchemaError

MAX_CATEGORIES = 100
PARQUET = frozenset({".parquet", ".pq"})
_LABELS = {"true": 1, "yes": 1, "1": 1, "1.0": 1, "false": 0, "no": 0, "0": 0, "0.0": 0}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}( .*)?")
_LONG_INTEGER = re.compile(r"[+-]?\d{19,}")  # what fits into 64 bits was read as a number
_BEYOND_64_BITS = "holds whole numbers beyond 64 bits: drop it, or name it with --id if it identifies a row"
_TEXT = Feature("text", "category")


class TableError(ValueError):
    """The file cannot be used as training data; the message names the column and what to do."""


@dataclass(frozen=True)
class Table:
    """Features of n rows as a typed frame, with their schema and labels (0 or 1)."""

    schema: FeatureSchema
    frame: pd.DataFrame
    labels: pd.Series[int]


def read_table(path: Path, *, target: str, id_column: str | None = None) -> Table:
    """Read a table and infer its schema: every column is a feature but the target and the id.

    Raises:
        TableError: the file cannot be read, or a column cannot be a feature or the target.
    """
    raw = _read(path)
    for needed in filter(None, (target, id_column)):
        if needed not in raw.columns:
            raise TableError(f"{path}: no column {needed!r}; there are: {', '.join(map(str, raw.columns))}")
    if target == id_column:
        raise TableError(f"{path}: column {target!r} cannot be both what is predicted and what names a row")
    labels = _labels(raw[target], path)
    features = raw.drop(columns=[column for column in (target, id_column) if column])
    if features.columns.empty:
        raise TableError(f"{path}: no column is left to be a feature")
    schema = infer_schema(features)
    return Table(schema, typed_frame(schema, {name: features[name].tolist() for name in schema.names}), labels)


def infer_schema(frame: pd.DataFrame) -> FeatureSchema:
    """Infer each column's kind from its values, and that it may be missing where a value is.

    Whole numbers are integers, with gaps too (pandas makes 64-bit floats of those). The valid limits of an inferred
    feature are only those of its kind. Empty text is missing.

    Raises:
        TableError: a column is empty, doubled, of a kind that is no feature, or of text with too many different values.
    """
    doubled = frame.columns[frame.columns.duplicated()]
    if len(doubled):
        raise TableError(f"column {doubled[0]!r} is there twice: drop or rename one")
    try:
        return FeatureSchema(tuple(_feature(str(name), frame[name]) for name in frame.columns))
    except SchemaError as error:
        raise TableError(str(error)) from error


def _feature(name: str, values: pd.Series[Any]) -> Feature:
    missing = values.isna()
    if not types.is_numeric_dtype(values):
        missing |= values.map(lambda value: isinstance(value, str) and not value)
    present = values[~missing]
    if present.empty:
        raise TableError(f"column {name!r} is empty: drop it")
    return Feature(name, _kind(name, present, gaps=bool(missing.any())), nullable=bool(missing.any()))


def _kind(name: str, values: pd.Series[Any], *, gaps: bool) -> Kind:
    typed = values.convert_dtypes() if values.dtype == object else values
    if types.is_bool_dtype(typed):
        return "flag"
    if types.is_integer_dtype(typed):
        if int(typed.min()) < INT64_MIN or int(typed.max()) > INT64_MAX:
            raise TableError(f"column {name!r} {_BEYOND_64_BITS}")
        return "integer"
    if types.is_float_dtype(typed):
        return _kind_of_floats(name, typed, gaps=gaps)
    if isinstance(typed.dtype, pd.CategoricalDtype):
        typed = typed.astype(str)
    if types.is_string_dtype(typed):
        _check_texts(name, pd.Series(typed.unique()))
        return "category"
    raise TableError(f"column {name!r} is of type {values.dtype}, which is no feature: turn it to numbers or drop it")


def _kind_of_floats(name: str, values: pd.Series[Any], *, gaps: bool) -> Kind:
    numbers = values.to_numpy(dtype=np.float64)
    if np.isinf(numbers).any():
        raise TableError(f"column {name!r} holds an infinite number: leave it empty, or drop the column")
    whole = (numbers == np.trunc(numbers)).all() and (np.abs(numbers) <= 2**53).all()
    return "integer" if gaps and whole and values.dtype == np.float64 else "number"


def _check_texts(name: str, texts: pd.Series[Any]) -> None:
    """Refuse dates, too many different texts, and such as no request could hold."""
    if all(_DATE.fullmatch(text) for text in texts):
        raise TableError(
            f"column {name!r} holds dates ({texts[0]!r}), which are no feature: make numbers of it, or drop it"
        )
    if len(texts) > MAX_CATEGORIES:
        raise TableError(
            f"column {name!r} is text with {len(texts)} different values, over {MAX_CATEGORIES}: drop it, group it, or"
            " name it with --id if it identifies a row"
        )
    if any(_LONG_INTEGER.fullmatch(text) for text in texts):
        raise TableError(f"column {name!r} {_BEYOND_64_BITS}")
    for text in texts:
        problem = _TEXT.problem(text)
        if problem:
            raise TableError(f"column {name!r} holds {text[:40]!r}, which {problem}")


def _read(path: Path) -> pd.DataFrame:
    try:
        _check_header(_header(path), path)
        if path.suffix.lower() in PARQUET:
            frame = pd.read_parquet(path, dtype_backend="numpy_nullable")
        else:
            frame = pd.read_csv(path, dtype_backend="numpy_nullable", low_memory=False)
    except TableError:
        raise
    except (OSError, ValueError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error).strip().splitlines()[0]
        raise TableError(f"{path} cannot be read as a table: {reason}") from error
    if frame.empty:
        raise TableError(f"{path} holds no rows")
    if path.suffix.lower() not in PARQUET and not isinstance(frame.index, pd.RangeIndex):
        raise TableError(f"{path}: the rows have more fields than the header names")
    return frame


def _header(path: Path) -> list[str]:
    """The column names as they stand in the file: pandas would rename doubles and invent missing ones."""
    if path.suffix.lower() in PARQUET:
        import pyarrow.parquet  # noqa: PLC0415 (only where such a file is read)

        return list(pyarrow.parquet.read_schema(path).names)
    first = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
    return [str(name) for name in first.iloc[0]]


def _check_header(names: list[str], path: Path) -> None:
    for place, name in enumerate(names, 1):
        if not name:
            raise TableError(f"{path}: column {place} has no name: name it, or drop it")
        if names.count(name) > 1:
            raise TableError(f"{path}: column {name!r} is there twice: drop or rename one")


def _labels(values: pd.Series[Any], path: Path) -> pd.Series[int]:
    labels = values.astype("object").map(lambda value: _LABELS.get(str(value).strip().lower()))
    odd = values[labels.isna()]
    if not odd.empty:
        found = "a missing value" if pd.isna(odd.iloc[0]) else repr(str(odd.iloc[0]))
        raise TableError(f"{path}: target {values.name!r} must be 0 or 1, true or false, yes or no; found {found}")
    if labels.nunique() != 2:  # noqa: PLR2004 (two classes)
        raise TableError(f"{path}: target {values.name!r} holds one class only; a model needs both")
    return labels.astype(int)
