"""Reads CSV files, for ingest and for train, and locates every fault by file, line, column and value.

It uses the csv module. pyarrow is faster, but turns a blank line into a row of empty values, accepts NUL bytes, lone
carriage returns and text after a closing quote, and counts rows where an editor counts lines. pandas fills short rows.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import lzma
import re
import zlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, TypeAlias

from leeway.schema import Feature, Kind, Value

CellReader: TypeAlias = Callable[[str], Value]
"""Converts a cell's text to a value; raises ValueError with the reason if it cannot."""

CHUNK_ROWS: Final = 256
SHARED_VALUES: Final = 10_000
"""Distinct texts per column whose values are converted and stored only once."""
SEPARATORS: Final = (",", ";", "\t", "|")
_LOOK_AHEAD, _LOOK_AHEAD_LINES = 65_536, 50  # bytes and lines that tell the separator
_MAX_QUOTED = 80
_OPEN: Final[Mapping[str, Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


class TableError(ValueError):
    """A table cannot be read. `file`, `line` or `row` (from 1), `column` and `value` locate the fault if they apply."""

    def __init__(
        self,
        reason: str,
        *,
        file: str | None = None,
        line: int | None = None,
        row: int | None = None,
        column: str | None = None,
        value: str | None = None,
    ) -> None:
        places = (file, line and f"line {line}", row and f"row {row}", column and f"column {column}")
        where = ", ".join(place for place in places if place)
        super().__init__((f"{where}: " if where else "") + ("" if value is None else f"{_quoted(value)} ") + reason)
        self.file, self.reason, self.line, self.row, self.column, self.value = file, reason, line, row, column, value


def _quoted(value: str) -> str:
    return repr(value if len(value) <= _MAX_QUOTED else f"{value[:_MAX_QUOTED]}…")


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows: the line on which each begins, and each column's texts."""

    lines: list[int]
    columns: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class CsvTable:
    """A file's values by column, and the line on which each row begins."""

    file: str
    header: list[str]
    lines: array[int]
    columns: dict[str, list[Any]]


def read_csv(
    path: Path, readers: Mapping[str, CellReader], *, others: Collection[str] | None = None, separator: str = ","
) -> CsvTable:
    """Read the columns that have a reader. The file may also have the columns in `others`; None allows any.

    Raises:
        TableError: see `read_chunks`; or a reader rejects a text.
    """
    table = CsvTable(path.name, [], array("L"), {name: [] for name in readers})
    cells = {name: Cells(read) for name, read in readers.items()}
    for chunk in read_chunks(path, readers, others=others, separator=separator):
        table.header[:] = chunk.columns
        table.lines.extend(chunk.lines)
        for name, values in table.columns.items():
            texts, first = chunk.columns[name], len(values)
            try:
                values.extend(texts if readers[name] is str else map(cells[name].__getitem__, texts))
            except ValueError as error:
                row = len(values) - first  # extend keeps the values before the error
                raise TableError(
                    str(error), file=path.name, line=chunk.lines[row], column=name, value=texts[row]
                ) from None
    return table


def find_separator(path: Path) -> str:
    """The separator by which the first lines of a file have the same number of fields, at least two; else a comma.

    Raises:
        TableError: the file cannot be opened.
    """
    with _opened(path) as source:
        text = source.read(_LOOK_AHEAD).decode("utf-8-sig", errors="replace")
    lines = [line for line in text.splitlines(keepends=True)[:_LOOK_AHEAD_LINES] if line.strip()]
    return max(SEPARATORS, key=lambda separator: _width(lines, separator))


def _width(lines: Sequence[str], separator: str) -> int:
    """How many fields each record has; 0 if they differ. The last one, which may be cut off, does not count."""
    try:
        widths = [len(row) for row in csv.reader(lines, delimiter=separator, strict=True)]
    except csv.Error:
        return 0
    return widths[0] if len(set(widths[:-1] or widths)) == 1 and widths[0] > 1 else 0


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file, unpacked; errors of reading it are a TableError."""
    try:
        with _OPEN.get(path.suffix.lower(), open)(path, "rb") as source:
            yield source
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise TableError(f"cannot be read: {getattr(error, 'strerror', None) or error}", file=path.name) from error


def read_chunks(
    path: Path,
    required: Collection[str],
    *,
    others: Collection[str] | None = None,
    lenient: bool = False,
    separator: str = ",",
    notes: list[str] | None = None,
) -> Iterator[Chunk]:
    """Yield the rows of a UTF-8 file, plain or packed (gz, bz2, xz), with the columns of `check_header`.

    A lenient read skips blank lines, accepts a last line without a line end, which may have been cut off, ignores
    blanks around the names of columns, and leaves out columns without a name; `notes` say so of the columns.

    Raises:
        TableError: the file cannot be opened, is not UTF-8, not CSV or cut off, or has no rows; or a column is
            missing, unknown or a duplicate.
    """
    file = path.name
    lines: list[int] = []
    rows: list[list[str]] = []
    with _opened(path) as source:
        records = _records(file, source, lenient=lenient, separator=separator)
        line, header = next(records, (1, []))
        _check_separator(header, separator, file)
        width, named = len(header), None
        if lenient:
            header, named = _named(header, [] if notes is None else notes)
        check_header(header, required, others=others, file=file)
        for line, row in records:
            if len(row) != width:
                raise TableError(f"has {len(row)} of {width} fields; was the file cut off?", file=file, line=line)
            lines.append(line)
            rows.append(row if named is None else [row[place] for place in named])
            if len(rows) == CHUNK_ROWS:
                yield Chunk(lines, dict(zip(header, zip(*rows, strict=True), strict=True)))
                lines, rows = [], []
        if rows:
            yield Chunk(lines, dict(zip(header, zip(*rows, strict=True), strict=True)))
        elif line == 1:
            raise TableError("has a header but no rows", file=file, line=1)


def _named(header: Sequence[str], notes: list[str]) -> tuple[list[str], list[int] | None]:
    """The names of columns, and the places of those that have one; None if all have."""
    names = [name.strip() for name in header]
    if names != list(header):
        notes.append("blanks around the names of columns do not count")
    places = [place for place, name in enumerate(names) if name]
    if len(places) == len(names):
        return names, None
    nameless = [str(place) for place, name in enumerate(names, 1) if not name]
    notes.append(f"column {', '.join(nameless)} has no name and is left out")
    return [names[place] for place in places], places


def _check_separator(header: Sequence[str], separator: str, file: str) -> None:
    if len(header) != 1:
        return
    for likely in SEPARATORS:
        if likely != separator and likely in header[0]:
            reason = f"has one column, {header[0]!r}: the separator is likely {likely!r}, not {separator!r}"
            raise TableError(reason, file=file, line=1)


def check_header(
    header: Sequence[str],
    required: Iterable[str] = (),
    *,
    others: Collection[str] | None = None,
    file: str | None = None,
) -> None:
    """Require a name for every column, each name once, all required names, and no name but these and `others`.

    Raises:
        TableError: a column has no name or is a duplicate, missing or unknown. `others` None allows any name.
    """
    problem = next(_header_problems(header, list(required), others), None)
    if problem is not None:
        raise TableError(problem, file=file, line=1)


def _header_problems(header: Sequence[str], required: list[str], others: Collection[str] | None) -> Iterator[str]:
    if not header:
        yield "has no header: the file or its first line is empty"
    known = sorted({*required, *(header if others is None else others)})
    for place, name in enumerate(header, 1):
        if not name:
            yield f"column {place} has no name; name it or drop it"
        if header.count(name) > 1:
            yield f"duplicate column {name!r}; drop or rename one"
        if name not in known:
            yield f"unknown column {name!r}; expected one of {', '.join(known)}"
    for name in required:
        if name not in header:
            yield f"missing column {name!r}; the file has {', '.join(header)}"


def _records(file: str, source: IO[bytes], *, lenient: bool, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each record's texts with the line on which it begins; a quoted text may contain line ends."""
    line, rows = 1, csv.reader(_lines(file, source, lenient=lenient), delimiter=separator, strict=True)
    try:
        for row in rows:
            if row or not lenient:
                yield line, row
            line = rows.line_num + 1
    except csv.Error as error:
        raise TableError(f"is not valid CSV ({error})", file=file, line=line) from error


def _lines(file: str, source: IO[bytes], *, lenient: bool) -> Iterator[str]:
    encoding = "utf-8-sig"
    for line, raw in enumerate(source, 1):
        if line == 1 and raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise TableError("is UTF-16; save the file as UTF-8", file=file, line=line)
        if b"\0" in raw:
            raise TableError("has a NUL byte; is this a CSV file?", file=file, line=line)
        if not lenient and not raw.endswith(b"\n"):
            reason = "has no line end, so the file may be cut off here; add a line end if the file is complete"
            raise TableError(reason, file=file, line=line, value=raw.decode(encoding, errors="replace"))
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError as error:
            invalid = raw[error.start : error.end].hex(" ")
            raise TableError(f"is not UTF-8 (byte {invalid}); save the file as UTF-8", file=file, line=line) from error
        yield text
        encoding = "utf-8"


class Cells(dict[str, Value]):
    """One column's values by text, so that a repeated text is converted and stored only once."""

    def __init__(self, read: CellReader) -> None:
        self._read = read

    def __missing__(self, text: str) -> Value:
        value = self._read(text)
        if len(self) < SHARED_VALUES:
            self[text] = value
        return value


def feature_reader(feature: Feature, missing: Collection[str] = ("",)) -> CellReader:
    """Make a reader of the feature's values; the texts in `missing` stand for a missing value."""
    parse = _PARSE[feature.kind]

    def read(text: str) -> Value:
        return feature.validate(None if text in missing else parse(text))

    return read


NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
INTEGER: Final = re.compile(r"[+-]?\d+", re.ASCII)
FLAGS: Final = {"true": True, "false": False}
_MAX_INTEGER_LENGTH = 20


def _read_number(text: str) -> float:
    if not NUMBER.fullmatch(text):  # float() would accept nan, inf and 1_000 too
        raise ValueError("must be a number")
    return float(text)


def _read_integer(text: str) -> float:
    """Read an integer; one in the form of a float, such as 40.0, is left to the feature's rule."""
    if INTEGER.fullmatch(text):
        if len(text) > _MAX_INTEGER_LENGTH:
            raise ValueError("must fit in 64 bits")
        return int(text)
    if not NUMBER.fullmatch(text):
        raise ValueError("must be a whole number")
    return float(text)


def read_flag(text: str) -> bool:
    """Read `True` or `False`, in any letter case."""
    flag = FLAGS.get(text.lower())
    if flag is None:
        raise ValueError("must be True or False")
    return flag


_PARSE: Final[Mapping[Kind, CellReader]] = {
    "number": _read_number,
    "integer": _read_integer,
    "flag": read_flag,
    "category": str,
}
