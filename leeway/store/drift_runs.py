"""Drift runs in the database: one row per run, with the state that the worker needs after a restart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from leeway.store.engine import DatabaseError, create_tables, translated
from leeway.store.tables import Tables


class DriftLogError(DatabaseError):
    """Drift runs cannot be read or written now: try again later. `__cause__` is the driver's error."""


@dataclass(frozen=True)
class DriftRun:
    """One finished run. Times are aware; `result` is its `result.json`, `state` is the worker's state after it."""

    run_id: str
    finished_at: datetime
    model_name: str
    model_version: str
    window_from: datetime
    window_to: datetime
    rows: int | None
    subjects: int | None
    share: float | None
    decision: str
    recommendation: str
    reason: str
    result: Mapping[str, Any]
    state: Mapping[str, Any]
    trace_id: str | None


class DriftLog:
    """The runs of all models that share this database."""

    def __init__(self, engine: sa.Engine, tables: Tables) -> None:
        self._engine = engine
        self._tables = tables
        self._runs = tables.drift_runs

    def create_table(self) -> None:
        """Create the table if it is missing.

        Raises:
            DriftLogError: the database is unreachable.
        """
        with translated(into=DriftLogError):
            create_tables(self._engine, self._tables, only=[self._runs])

    def save(self, run: DriftRun) -> None:
        """Store a run.

        Raises:
            DriftLogError: the database is unreachable.
        """
        with translated(into=DriftLogError), self._engine.begin() as connection:
            connection.execute(sa.insert(self._runs), [asdict(run)])

    def last(self, model_name: str, *, seen: bool = False) -> DriftRun | None:
        """The newest run of a model, of any version; with `seen` the newest whose result is not UNKNOWN.

        Raises:
            DriftLogError: the database is unreachable.
        """
        columns = [self._runs.c[name] for name in DriftRun.__dataclass_fields__]
        query = sa.select(*columns).where(self._runs.c.model_name == model_name)
        if seen:
            query = query.where(self._runs.c.share.is_not(None))
        query = query.order_by(self._runs.c.finished_at.desc(), self._runs.c.run_id.desc()).limit(1)
        with translated(into=DriftLogError), self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else DriftRun(**row)
