"""Reads a month-end extract: a folder of CSV files, joined by customer and checked against the schema.

One fault rejects the whole extract.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leeway.data.csv_table import CellReader, TableError, feature_reader, read_csv, read_flag
from leeway.schema import CHURN_SCHEMA, Value

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
class Extract:
    """One month. Every list has one entry per customer, in the same order; `columns` are in the schema's order.

    `labels` are 1 for a customer who left, else 0, or None if the folder has no labels. `skipped` names the files and
    columns that are known and are not features.
    """

    user_ids: list[str]
    columns: dict[str, list[Value]]
    labels: list[int] | None
    skipped: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.user_ids)


def read_extract(folder: Path) -> Extract:
    """Read the feature files of `folder`, and its labels if it has any.

    Raises:
        TableError: a file, a column or a customer is missing, unknown or duplicate, a file is empty or cut off, or a
            value is invalid.
    """
    present = _csv_files(folder)
    files = list(LAYOUT)
    first = _read_features(folder / files[0])
    columns = first.columns_in_order_of(first)
    skipped = [*(name for name in SKIPPED_FILES if name in present), *first.skipped]
    for file in files[1:]:
        table = _read_features(folder / file)
        columns |= table.columns_in_order_of(first)
        skipped += table.skipped
    labels: list[int] | None = None
    if LABELS_FILE in present:
        table = _read_customers(folder / LABELS_FILE, {LABEL_COLUMN: read_flag})
        labels = [int(value is True) for value in table.columns_in_order_of(first)[LABEL_COLUMN]]
    return Extract(first.ids, {name: columns[name] for name in CHURN_SCHEMA.names}, labels, tuple(skipped))


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


def _read_features(path: Path) -> _CustomerTable:
    readers = {name: feature_reader(CHURN_SCHEMA[name]) for name in LAYOUT[path.name]}
    return _read_customers(path, readers, SKIPPED_COLUMNS.get(path.name, ()))


def _read_customers(path: Path, readers: Mapping[str, CellReader], others: Sequence[str] = ()) -> _CustomerTable:
    table = read_csv(path, {ID_COLUMN: str, **readers}, others=others)
    ids = table.columns.pop(ID_COLUMN)
    for line, user_id in zip(table.lines, ids, strict=True):
        if not 0 < len(user_id) <= MAX_ID_LENGTH:
            reason = f"must be 1 to {MAX_ID_LENGTH} characters long"
            raise TableError(reason, file=table.file, line=line, column=ID_COLUMN, value=user_id)
    return _CustomerTable(
        table.file, ids, table.lines, table.columns, [name for name in table.header if name in others]
    )


@dataclass(frozen=True)
class _CustomerTable:
    """One file's columns in the file's order; `lines` holds the line on which each row begins."""

    file: str
    ids: list[str]
    lines: array[int]
    columns: dict[str, list[Value]]
    skipped: list[str]

    def columns_in_order_of(self, first: _CustomerTable) -> dict[str, list[Value]]:
        """The columns, in the order of `first`'s customers; both files must have the same customers, each once."""
        if self is not first and self.ids == first.ids:
            return self.columns
        rows = self._row_of()
        if self is first:
            return self.columns
        first._require_each_in(rows, self.file)
        if len(rows) > len(first.ids):
            self._require_each_in(first._row_of(), first.file)
        order = [rows[user_id] for user_id in first.ids]
        return {name: [values[row] for row in order] for name, values in self.columns.items()}

    def _require_each_in(self, known: Mapping[str, int], file: str) -> None:
        for user_id, line in zip(self.ids, self.lines, strict=True):
            if user_id not in known:
                raise TableError(f"is not in {file}", file=self.file, line=line, column=ID_COLUMN, value=user_id)

    def _row_of(self) -> dict[str, int]:
        rows: dict[str, int] = {}
        for row, user_id in enumerate(self.ids):
            if rows.setdefault(user_id, row) != row:
                reason = f"is a duplicate of line {self.lines[rows[user_id]]}"
                raise TableError(reason, file=self.file, line=self.lines[row], column=ID_COLUMN, value=user_id)
        return rows
