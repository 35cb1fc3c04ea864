"""Drift runs in the database: one row a run, with all that the worker needs to go on after a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from leeway.store.engine import DatabaseError, translated
from leeway.store.tables import Tables


class DriftLogError(DatabaseError):
    """Drift runs cannot be read or written now; `__cause__` is the driver's error."""


@dataclass(frozen=True)
class DriftRun:
    """One finished run. Times are aware; `result` is its `result.json`, `state` the worker's state after it."""

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
    """The runs of every model that shares this database."""

    def __init__(self, engine: sa.Engine, tables: Tables) -> None:
        self._engine = engine
        self._runs = tables.drift_runs

    def save(self, run: DriftRun) -> None:
        """Store a run.

        Raises:
            DriftLogError: the database cannot be reached now.
        """
        with _translated(), self._engine.begin() as connection:
            connection.execute(sa.insert(self._runs), [asdict(run)])

    def last(self, model_name: str, *, seen: bool = False) -> DriftRun | None:
        """The newest run of a model, whatever its version; with `seen` the newest that was not UNKNOWN.

        Raises:
            DriftLogError: the database cannot be reached now.
        """
        columns = [self._runs.c[name] for name in DriftRun.__dataclass_fields__]
        query = sa.select(*columns).where(self._runs.c.model_name == model_name)
        if seen:
            query = query.where(self._runs.c.share.is_not(None))
        query = query.order_by(self._runs.c.finished_at.desc(), self._runs.c.run_id.desc()).limit(1)
        with _translated(), self._engine.connect() as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else DriftRun(**row)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        with translated():
            yield
    except DatabaseError as error:
        raise DriftLogError(str(error)) from error.__cause__
