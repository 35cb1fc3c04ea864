"""The windows of a source, for the worker: opened in each run, and closed at its end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from drift.inputs import ComparisonInputs, MonitoredModel
from drift.sources.arguments import ReferenceChoice
from drift.sources.mapping import Mapping
from drift.sources.opening import Source, open_source
from drift.sources.periods import Period
from drift.sources.reading import Limits
from drift.sources.reference import SourceReference
from drift.sources.table import PredictionTable, prediction_table
from drift.sources.window import read_source
from leeway.store.drift_runs import DriftLog


class SourceWindows:
    """See `drift.inputs.WindowReader`. What it raises are `SourceError`, and what `ReferenceChoice.load` raises.

    The reference is loaded once; the columns of the table are found again in each run. `release_runs` closes the
    connections to the database of drift runs.
    """

    def __init__(
        self,
        url: str,
        mapping: Mapping,
        reference: ReferenceChoice,
        *,
        limits: Limits,
        timeout_s: float,
        drift_log: DriftLog,
        release_runs: Callable[[], None],
    ) -> None:
        self._url = url
        self._mapping = mapping
        self._choice = reference
        self._limits = limits
        self._timeout_s = timeout_s
        self._drift_log = drift_log
        self._release_runs = release_runs
        self._source: Source | None = None
        self._table: PredictionTable | None = None
        self._reference: SourceReference | None = None
        self._has_runs = False

    def load(self) -> MonitoredModel:
        """Open the source, find its columns, and load the reference in the first run that can."""
        if not self._has_runs:
            self._drift_log.create_table()
            self._has_runs = True
        self._source = open_source(self._url, timeout_s=self._timeout_s)
        self._table = prediction_table(self._source, self._mapping)
        if self._reference is None:
            self._reference = self._choice.load(self._table)
        model = self._reference.model
        return MonitoredModel(model.name or self._table.table)

    def read(self, start: datetime, end: datetime) -> ComparisonInputs:
        """The window [start, end) against the reference; `load` comes first."""
        if self._table is None or self._reference is None:
            raise RuntimeError("load the reference first")
        return read_source(self._table, self._reference, Period(start, end), self._limits)

    def invalidate(self) -> None:
        """Create the table of drift runs again, if it is missing."""
        self._has_runs = False

    def release(self) -> None:
        """Close the source and the database of drift runs."""
        if self._source is not None:
            self._source.close()
        self._source = self._table = None
        self._release_runs()
