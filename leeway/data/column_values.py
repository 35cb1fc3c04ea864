"""Collects the values of one column from its texts, in as little memory as its kind takes."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from leeway.data.csv_table import Cells, TableError
from leeway.data.text_column import CellOptions, reader_of
from leeway.schema import Feature, Value

_MISSING_FLAG = 2


class ColumnValues:
    """The values of one feature, as `leeway.data.tabular.typed_frame` types them; 8 bytes a value, 1 for a flag."""

    def __init__(self, feature: Feature, options: CellOptions) -> None:
        self.feature = feature
        self._read = Cells(reader_of(feature, options))
        self._codes = {"number": "d", "integer": "q", "flag": "b"}
        self._plain = {"number": float, "integer": int}.get(feature.kind)
        if options.missing or options.number_format.decimal != "." or options.number_format.thousands:
            self._plain = None
        code = self._codes.get(feature.kind)
        self._values: Any = array(code) if code else []
        self._missing = bytearray()  # of an integer only: no 64-bit integer stands for a missing one

    def extend(self, texts: Sequence[str], places: Sequence[int], file: str, unit: str) -> None:
        """Add the values of consecutive cells.

        Raises:
            TableError: a text is not valid for the feature.
        """
        if self._plain is None or not self._extend_plain(self._plain, texts):
            self._extend(self._values_of(texts, places, file, unit))

    def _extend_plain(self, parse: type[float | int], texts: Sequence[str]) -> bool:
        """Add plain numbers, ten times faster; False if a text is anything else, for example empty."""
        count = len(self._values)
        try:
            self._values.extend(map(parse, texts))
        except (ValueError, OverflowError):
            del self._values[count:]
            return False
        self._missing.extend(bytes(len(texts)))
        return True

    def _values_of(self, texts: Sequence[str], places: Sequence[int], file: str, unit: str) -> list[Value]:
        values: list[Value] = []
        try:
            values.extend(map(self._read.__getitem__, texts))
        except ValueError as error:
            at = len(values)  # extend keeps the values before the error
            where = {unit: places[at]}
            raise TableError(str(error), file=file, column=self.feature.name, value=texts[at], **where) from None
        return values

    def _extend(self, values: Iterable[Value]) -> None:
        if self.feature.kind == "category":
            self._values.extend(values)
        elif self.feature.kind == "number":
            self._values.extend(np.nan if value is None else value for value in values)
        else:
            empty = 0 if self.feature.kind == "integer" else _MISSING_FLAG
            values = list(values)
            self._values.extend(empty if value is None else value for value in values)
            self._missing.extend(value is None for value in values)

    def series(self) -> pd.Series[Any]:
        """The column: float64, Int64, boolean or text."""
        kind = self.feature.kind
        if kind == "category":
            return pd.Series(self._values, dtype="object")
        numbers = np.frombuffer(self._values, dtype=self._values.typecode)
        if kind == "number":
            return pd.Series(numbers)
        mask = np.frombuffer(self._missing, dtype=np.bool_)
        if kind == "integer":
            return pd.Series(pd.arrays.IntegerArray(numbers.astype(np.int64), mask))
        return pd.Series(pd.arrays.BooleanArray(numbers == 1, mask))
