"""Reads one CSV file of customers: every cell through a reader of its column, every fault by file, line and column.

Lean and quick: a file of a million rows is read in a stream, and a value that comes again is stored once.
"""

from __future__ import annotations

import csv
import re
from array import array
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, TypeAlias

from leeway.schema import Feature, Kind, Value

CellReader: TypeAlias = Callable[[str], Value]
"""Makes a value of a cell's text; raises ValueError with the reason where it cannot."""

ID_COLUMN: Final = "user_id"
MAX_ID_LENGTH: Final = 200
SHARED_VALUES: Final = 10_000
_SHOWN_CHARACTERS = 80


class ExtractError(ValueError):
    """An extract cannot be read. `file`, `line` (1-based), `column` and `value` say where; None where there is none."""

    def __init__(
        self,
        file: str,
        reason: str,
        *,
        line: int | None = None,
        column: str | None = None,
        value: str | None = None,
    ) -> None:
        where = file
        where += "" if line is None else f", line {line}"
        where += "" if column is None else f", column {column}"
        super().__init__(f"{where}: {'' if value is None else f'{_shown(value)} '}{reason}")
        self.file, self.reason, self.line, self.column, self.value = file, reason, line, column, value


def _shown(value: str) -> str:
    return repr(value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…")


@dataclass(frozen=True)
class CustomerTable:
    """One file's columns in its own order; `lines` holds the line on which each row begins."""

    file: str
    ids: list[str]
    lines: array[int]
    columns: dict[str, list[Value]]
    passed_over: list[str]

    def refuse_doubles(self) -> None:
        """Refuse a customer who is there twice."""
        self._places()

    def columns_in_order_of(self, first: CustomerTable) -> dict[str, list[Value]]:
        """The columns, in the order of `first`'s customers, where both hold the same ones."""
        if self.ids == first.ids:
            return self.columns
        places = self._places()
        first.refuse_customers_beyond(places, self.file)
        if len(places) > len(first.ids):
            self.refuse_customers_beyond(first._places(), first.file)
        order = [places[user_id] for user_id in first.ids]
        return {name: [values[place] for place in order] for name, values in self.columns.items()}

    def refuse_customers_beyond(self, known: Mapping[str, int], file: str) -> None:
        """Refuse a customer of this table who is not in `known`, the customers of `file`."""
        for user_id, line in zip(self.ids, self.lines, strict=True):
            if user_id not in known:
                raise ExtractError(self.file, f"is not in {file}", line=line, column=ID_COLUMN, value=user_id)

    def _places(self) -> dict[str, int]:
        places: dict[str, int] = {}
        for place, user_id in enumerate(self.ids):
            if places.setdefault(user_id, place) != place:
                reason = f"is there twice, on line {self.lines[places[user_id]]} already"
                raise ExtractError(self.file, reason, line=self.lines[place], column=ID_COLUMN, value=user_id)
        return places


def read_table(path: Path, readers: Mapping[str, CellReader], others: Collection[str] = ()) -> CustomerTable:
    """Read one file's customers and the columns that have a reader; columns in `others` may be there, unread.

    Raises:
        ExtractError: the file cannot be read, is no whole CSV file, lacks a column, has an unheard-of one or none but a
            header, or a cell's text is refused.
    """
    file = path.name
    try:
        with path.open("rb") as source:
            records = _records(file, source)
            header = _checked_header(file, next(records, (1, []))[1], readers, others)
            table = _read_rows(file, header, records, readers)
    except OSError as error:
        raise ExtractError(file, f"cannot be read ({error.strerror})") from error
    if not table.ids:
        raise ExtractError(file, "has a header and no rows", line=1)
    return table


def _read_rows(
    file: str, header: list[str], records: Iterator[tuple[int, list[str]]], readers: Mapping[str, CellReader]
) -> CustomerTable:
    passed_over = [name for name in header if name != ID_COLUMN and name not in readers]
    table = CustomerTable(file, [], array("L"), {name: [] for name in readers}, passed_over)
    plan = [(name, header.index(name), _Cells(read), table.columns[name]) for name, read in readers.items()]
    id_at, width = header.index(ID_COLUMN), len(header)
    for line, row in records:
        if len(row) != width:
            raise ExtractError(file, f"has {len(row)} of {width} fields; was the file cut off?", line=line)
        if not 0 < len(row[id_at]) <= MAX_ID_LENGTH:
            reason = f"must be 1 to {MAX_ID_LENGTH} characters long"
            raise ExtractError(file, reason, line=line, column=ID_COLUMN, value=row[id_at])
        table.ids.append(row[id_at])
        table.lines.append(line)
        for name, place, cells, values in plan:
            try:
                values.append(cells[row[place]])
            except ValueError as error:
                raise ExtractError(file, str(error), line=line, column=name, value=row[place]) from None
    return table


def _checked_header(
    file: str, header: list[str], readers: Mapping[str, CellReader], others: Collection[str]
) -> list[str]:
    """The header, where it names every needed column once and no unheard-of one."""
    if not header:
        raise ExtractError(file, "has no header: the file, or its first line, is empty", line=1)
    needed = (ID_COLUMN, *readers)
    known = {*needed, *others}
    for name in header:
        if name not in known:
            raise ExtractError(file, f"is unheard of; known are {', '.join(sorted(known))}", line=1, column=name)
        if header.count(name) > 1:
            raise ExtractError(file, "is there twice", line=1, column=name)
    for name in needed:
        if name not in header:
            raise ExtractError(file, "is missing", line=1, column=name)
    return header


def _records(file: str, source: BinaryIO) -> Iterator[tuple[int, list[str]]]:
    """Each record's cells with the line on which it begins; a quoted cell may hold line ends."""
    line, rows = 1, csv.reader(_lines(file, source), strict=True)
    try:
        for row in rows:
            yield line, row
            line = rows.line_num + 1
    except csv.Error as error:
        raise ExtractError(file, f"is not CSV ({error})", line=line) from error


def _lines(file: str, source: BinaryIO) -> Iterator[str]:
    """The file's lines as text. A last line without its end may be cut in the middle of a number: refused."""
    encoding = "utf-8-sig"
    for line, raw in enumerate(source, 1):
        if b"\0" in raw:
            raise ExtractError(file, "holds a NUL byte; is this a CSV file?", line=line)
        if not raw.endswith(b"\n"):
            reason = "has no line end, so the file may be cut off here; append a line end if the file is whole"
            raise ExtractError(file, reason, line=line, value=raw.decode(encoding, errors="replace"))
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError as error:
            bad = raw[error.start : error.end].hex(" ")
            raise ExtractError(file, f"is not UTF-8 (byte {bad}); save the file as UTF-8", line=line) from error
        yield text
        encoding = "utf-8"


class _Cells(dict[str, Value]):
    """One column's texts with the values they stand for: what comes again is neither read nor stored twice."""

    def __init__(self, read: CellReader) -> None:
        self._read = read

    def __missing__(self, text: str) -> Value:
        value = self._read(text)
        if len(self) < SHARED_VALUES:
            self[text] = value
        return value


def feature_reader(feature: Feature) -> CellReader:
    """Make a function from a cell's text to the feature's value; it raises ValueError with the reason."""
    parse = _PARSE[feature.kind]

    def read(text: str) -> Value:
        value = parse(text) if text else None
        reason = feature.problem(value)
        if reason is not None:
            raise ValueError(reason)
        return value

    return read


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_LONGEST_INTEGER = 20


def _read_number(text: str) -> float:
    if not _NUMBER.fullmatch(text):  # float() would take nan, inf and 1_000 too
        raise ValueError("must be a number")
    return float(text)


def _read_integer(text: str) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError("must be a whole number")
    if len(text) > _LONGEST_INTEGER:
        raise ValueError("must fit in 64 bits")
    return int(text)


def read_flag(text: str) -> bool:
    """Read `True` or `False`, in any letter case."""
    flag = _FLAGS.get(text.lower())
    if flag is None:
        raise ValueError("must be True or False")
    return flag


_FLAGS: Final = {"true": True, "false": False}
_PARSE: Final[Mapping[Kind, CellReader]] = {
    "number": _read_number,
    "integer": _read_integer,
    "flag": read_flag,
    "category": str,
}
