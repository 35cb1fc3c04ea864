"""Reads a month-end extract: a folder of CSV files, joined by customer, every cell held against the schema.

A file is read whole or not at all: what is wrong is named by file, line, column and value, and nothing comes back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from leeway.data.csv_table import ID_COLUMN, CustomerTable, ExtractError, feature_reader, read_flag, read_table
from leeway.schema import CHURN_SCHEMA, Value

__all__ = ["ID_COLUMN", "LABELS_FILE", "LABEL_COLUMN", "LAYOUT", "Extract", "ExtractError", "read_extract"]


@dataclass(frozen=True)
class FileLayout:
    """Which features a file holds, and which of its columns are known to be none."""

    features: tuple[str, ...]
    others: tuple[str, ...] = ()


LAYOUT: Final[Mapping[str, FileLayout]] = {
    "subscriptions.csv": FileLayout(
        (
            "months_active",
            "monthly_fee",
            "paperless_billing",
            "plan_stream_tv",
            "plan_stream_movies",
            "net_service",
        ),
        others=("contract_type", "total_paid"),
    ),
    "usage_agg_30d.csv": FileLayout(
        ("watch_hours_30d", "avg_session_mins_7d", "unique_devices_30d", "skips_7d", "rebuffer_events_7d")
    ),
    "payments_agg_90d.csv": FileLayout(("failed_payments_90d",)),
    "support_agg_90d.csv": FileLayout(("support_tickets_90d", "ticket_avg_resolution_hrs_90d")),
}
"""The feature files. Each must be there; the first one sets the order of the customers."""

LABELS_FILE: Final = "labels.csv"
LABEL_COLUMN: Final = "churn_label"
FILES_WITHOUT_FEATURES: Final = ("users.csv",)


@dataclass(frozen=True)
class Extract:
    """One month: every list has one entry a customer, in one order; `columns` are in the schema's order.

    `labels` are 1 for a customer who left, else 0, and None where the folder has no labels. `passed_over` names the
    known files and columns that were there and are no features.
    """

    user_ids: list[str]
    columns: dict[str, list[Value]]
    labels: list[int] | None
    passed_over: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.user_ids)


def read_extract(folder: Path) -> Extract:
    """Read the feature files of `folder`, and its labels where there are any.

    Raises:
        ExtractError: a file, a column or a customer is missing, unheard of or there twice, a file is empty or cut off,
            or a value is not valid.
    """
    present = _csv_files(folder)
    first_file, *more_files = LAYOUT
    first = _read(folder, first_file)
    first.refuse_doubles()
    columns = dict(first.columns)
    passed_over = [*(name for name in FILES_WITHOUT_FEATURES if name in present), *first.passed_over]
    for file in more_files:
        table = _read(folder, file)
        columns |= table.columns_in_order_of(first)
        passed_over += table.passed_over
    labels: list[int] | None = None
    if LABELS_FILE in present:
        table = read_table(folder / LABELS_FILE, {LABEL_COLUMN: read_flag})
        labels = [int(value is True) for value in table.columns_in_order_of(first)[LABEL_COLUMN]]
    return Extract(first.ids, {name: columns[name] for name in CHURN_SCHEMA.names}, labels, tuple(passed_over))


def _csv_files(folder: Path) -> set[str]:
    """The names of the CSV files in `folder`, where all needed ones are there and no unheard-of one."""
    try:
        present = {path.name for path in folder.iterdir() if path.suffix.lower() == ".csv"}
    except OSError as error:
        raise ExtractError(str(folder), f"is not a folder that can be read ({error.strerror})") from error
    known = {*LAYOUT, LABELS_FILE, *FILES_WITHOUT_FEATURES}
    for name in sorted(present - known):
        raise ExtractError(name, f"is not a file of an extract; known are {', '.join(sorted(known))}")
    for name in LAYOUT:
        if name not in present:
            raise ExtractError(name, f"is missing from {folder}; an extract has {', '.join(LAYOUT)}")
    return present


def _read(folder: Path, file: str) -> CustomerTable:
    layout = LAYOUT[file]
    return read_table(
        folder / file, {name: feature_reader(CHURN_SCHEMA[name]) for name in layout.features}, layout.others
    )
