"""Reads a month-end extract: a folder of CSV files, joined by customer and checked against the schema.

One fault rejects the whole extract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from leeway.data.cells import OTHER_FORMATS, likely_format
from leeway.data.csv_table import CellReader, CsvTable, TableError, find_separator, read_csv, read_flag
from leeway.data.text_column import CellOptions, reader_of
from leeway.schema import CHURN_SCHEMA, Feature, Value

ID_COLUMN: Final = "user_id"
MAX_ID_LENGTH: Final = 200


LAYOUT: Final[Mapping[str, Sequence[str]]] = {
    "subscriptions.csv": (
        "months_active", "monthly_fee", "paperless_billing", "plan_stream_tv", "plan_stream_movies", "net_service",
    ),
    "usage_agg_30d.csv": (
        "watch_hours_30d", "avg_session_mins_7d", "unique_devices_30d", "skips_7d", "rebuffer_events_7d",
    ),
    "payments_agg_90d.csv": ("failed_payments_90d",),
    "support_agg_90d.csv": ("support_tickets_90d", "ticket_avg_resolution_hrs_90d"),
}  # fmt: skip
"""The feature files and their features. All are required; the first one sets the order of the customers."""

SKIPPED_COLUMNS: Final[Mapping[str, Sequence[str]]] = {"subscriptions.csv": ("contract_type", "total_paid")}
LABELS_FILE: Final = "labels.csv"
LABEL_COLUMN: Final = "churn_label"
SKIPPED_FILES: Final = ("users.csv",)


@dataclass(frozen=True)
class ExtractFormat:
    """How the files of an extract are written: the separator, or None to recognize it in each file, and the cells."""

    separator: str | None = None
    cells: CellOptions = field(default_factory=CellOptions)


@dataclass(frozen=True)
class Extract:
    """One month. Every list has one entry per customer, in the same order; `columns` are in the schema's order.

    `labels` are 1 for a customer who left, else 0, or None if the folder has no labels. `skipped` names the files and
    columns that are known and are not features; `separators` are those of the files, if they are not all commas.
    """

    user_ids: list[str]
    columns: dict[str, list[Value]]
    labels: list[int] | None
    skipped: tuple[str, ...]
    separators: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.user_ids)


def read_extract(folder: Path, written: ExtractFormat = ExtractFormat()) -> Extract:
    """Read the feature files of `folder`, and its labels if it has any. Cells are read by the rules of training data.

    Raises:
        TableError: a file, a column or a customer is missing, unknown or duplicate, a file is empty or cut off, or a
            value is invalid.
    """
    present = _csv_files(folder)
    first_file, *other_files = LAYOUT
    first = _read_features(folder / first_file, written)
    _row_of(first)  # rejects a duplicate
    columns = dict(first.columns)
    skipped = [*(name for name in SKIPPED_FILES if name in present), *_skipped(first)]
    for file in other_files:
        table = _read_features(folder / file, written)
        columns |= _in_order_of(first, table)
        skipped += _skipped(table)
    labels: list[int] | None = None
    if LABELS_FILE in present:
        table = _read_customers(folder / LABELS_FILE, {LABEL_COLUMN: read_flag}, written)
        labels = [int(value) for value in _in_order_of(first, table)[LABEL_COLUMN]]
    separators = {written.separator or find_separator(folder / file) for file in LAYOUT} - {","}
    features = {name: columns[name] for name in CHURN_SCHEMA.names}
    return Extract(columns[ID_COLUMN], features, labels, tuple(skipped), tuple(sorted(separators)))


def _csv_files(folder: Path) -> set[str]:
    """The names of the CSV files in `folder`; all required ones exist, and none is unknown."""
    try:
        present = {path.name for path in folder.iterdir() if path.suffix.lower() == ".csv"}
    except OSError as error:
        raise TableError(f"cannot be read as a folder: {error.strerror}", file=str(folder)) from error
    known = {*LAYOUT, LABELS_FILE, *SKIPPED_FILES}
    for name in sorted(present - known):
        raise TableError(f"unknown file; expected {', '.join(sorted(known))}", file=name)
    for name in LAYOUT:
        if name not in present:
            raise TableError(f"missing from {folder}; an extract has {', '.join(LAYOUT)}", file=name)
    return present


def _read_features(path: Path, written: ExtractFormat) -> CsvTable:
    readers = {name: _reader(CHURN_SCHEMA[name], written.cells) for name in LAYOUT[path.name]}
    return _read_customers(path, readers, written, SKIPPED_COLUMNS.get(path.name, ()))


def _reader(feature: Feature, cells: CellOptions) -> CellReader:
    """A reader of cells that names the option for numbers in another format."""
    read = reader_of(feature, cells)

    def read_or_hint(text: str) -> Value:
        try:
            return read(text)
        except ValueError as error:
            likely = likely_format({text: 1}, OTHER_FORMATS)
            if feature.kind in ("number", "integer") and likely.cells and not cells.number_format.plain(text.strip()):
                raise ValueError(f"{error}; numbers in this format are read with {likely.options}") from error
            raise

    return read_or_hint


def _read_customers(
    path: Path, readers: Mapping[str, CellReader], written: ExtractFormat, others: Sequence[str] = ()
) -> CsvTable:
    separator = written.separator or find_separator(path)
    table = read_csv(path, {ID_COLUMN: str, **readers}, others=others, separator=separator)
    for line, user_id in zip(table.lines, table.columns[ID_COLUMN], strict=True):
        if not 0 < len(user_id) <= MAX_ID_LENGTH:
            reason = f"must be 1 to {MAX_ID_LENGTH} characters long"
            raise TableError(reason, file=table.file, line=line, column=ID_COLUMN, value=user_id)
    return table


def _skipped(table: CsvTable) -> list[str]:
    return [name for name in table.header if name not in table.columns]


def _in_order_of(first: CsvTable, table: CsvTable) -> dict[str, list[Any]]:
    """The columns of `table` in the order of `first`'s customers; both must have the same customers, each once."""
    wanted = first.columns[ID_COLUMN]
    if table.columns[ID_COLUMN] == wanted:
        return table.columns
    rows = _row_of(table)
    _require_each_in(rows, first, table.file)
    if len(rows) > len(wanted):
        _require_each_in(_row_of(first), table, first.file)
    order = [rows[user_id] for user_id in wanted]
    return {name: [values[row] for row in order] for name, values in table.columns.items()}


def _require_each_in(known: Mapping[str, int], table: CsvTable, file: str) -> None:
    for user_id, line in zip(table.columns[ID_COLUMN], table.lines, strict=True):
        if user_id not in known:
            raise TableError(f"is not in {file}", file=table.file, line=line, column=ID_COLUMN, value=user_id)


def _row_of(table: CsvTable) -> dict[str, int]:
    """The row of each customer; a duplicate is an error."""
    rows: dict[str, int] = {}
    for row, user_id in enumerate(table.columns[ID_COLUMN]):
        if rows.setdefault(user_id, row) != row:
            reason = f"is a duplicate of line {table.lines[rows[user_id]]}"
            raise TableError(reason, file=table.file, line=table.lines[row], column=ID_COLUMN, value=user_id)
    return rows
