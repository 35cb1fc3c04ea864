"""What `--reference` and `--current` say of a source."""

from __future__ import annotations

from collections.abc import Mapping as Mapped
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from drift.sources.errors import SourceError
from drift.sources.mapping import Mapping, Role
from drift.sources.opening import ColumnType, Source, opened
from drift.sources.periods import Period, parse_days
from drift.sources.reading import Limits
from drift.sources.reference import REFERENCE_FILE, SourceReference, bundle_reference, kept_reference, reference_of
from drift.sources.table import PredictionTable, prediction_table
from leeway.model import bundle as bundles

BUNDLE, LIVE = "bundle", "live"


def current_period(text: str, table: PredictionTable, window: timedelta, now: datetime) -> Period:
    """The period of `--current`: days, or with `live` the last `window`.

    Raises:
        SourceError: it is neither.
    """
    if text == LIVE:
        return Period(now - window, now)
    return days_period(text, table.mapping)


def days_period(text: str, mapping: Mapping) -> Period:
    """The period of days like 2026-11-01..2026-11-30, in the mapping's time zone.

    Raises:
        SourceError: the text is not a period.
    """
    try:
        days = parse_days(text)
    except ValueError as error:
        raise SourceError(str(error)) from error
    if days is None:
        raise SourceError(f"{text!r} is not a period: give days like 2026-11-01..2026-11-30, or live")
    return days.period(mapping.zone)


def is_days(text: str) -> bool:
    """Whether a reference is a period of days.

    Raises:
        SourceError: it looks like one, but a day does not exist, or the last is before the first.
    """
    try:
        return parse_days(text) is not None
    except ValueError as error:
        raise SourceError(str(error)) from error


@dataclass(frozen=True)
class ReferenceChoice:
    """Finds what `--reference` names: days of the same table, a kept folder, `bundle`, a file or URL, or a table."""

    text: str
    bundle: Path
    limits: Limits
    by: str | None = None

    def load(self, table: PredictionTable) -> SourceReference:
        """The reference for a table, with its segments if `by` names a column.

        Raises:
            SourceError: there is no such reference.
            leeway.model.manifest.BundleError: there is no usable bundle.
        """
        found = self._load(table)
        return found if self.by is None else found.divided(self.by)

    def _load(self, table: PredictionTable) -> SourceReference:
        if self.text == BUNDLE:
            return bundle_reference(bundles.load(self.bundle, lazy_scorer=True))
        if is_days(self.text):
            return reference_of(table, days_period(self.text, table.mapping), self.limits, by=self.by)
        if (Path(self.text) / REFERENCE_FILE).is_file():
            return kept_reference(Path(self.text))
        with ExitStack() as stack:
            is_other = "://" in self.text or any(sign in self.text for sign in "*?/\\") or Path(self.text).exists()
            source = stack.enter_context(opened(self.text)) if is_other else table.source
            name = _table_in(source, table.table) if is_other else self.text
            mapping = _for_reference(table, name, source.columns(name))
            other = prediction_table(source, mapping, needs_time=False)
            return reference_of(other, Period(), self.limits, by=self.by)


def _table_in(source: Source, wanted: str) -> str:
    """The table of that name in another source, or its only one."""
    tables = source.tables()
    if wanted in tables or len(tables) != 1:
        return wanted
    return tables[0]


def _for_reference(table: PredictionTable, name: str, types: Mapped[str, ColumnType]) -> Mapping:
    """The mapping of another table: features by their own names where it has these; no condition, no other labels."""
    features = {
        feature: feature if feature in types else ".".join((found.column, *found.path))
        for feature, found in table.features.items()
    }
    columns: dict[Role, str] = {role: column for role, column in table.mapping.columns.items() if column in types}
    return replace(table.mapping, table=name, features=features, columns=columns, where=None, labels=None)
