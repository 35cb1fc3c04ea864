"""Deletes what is older than a time, for all feature schemas of a database, in small transactions.

A run that is interrupted has deleted the oldest rows; the next one continues. Snapshots stay, the service needs them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA
from leeway.store.engine import translated
from leeway.store.tables import UtcDateTime, tables_for, utc

BATCH_ROWS = 1_000
KINDS = ("predictions", "labels", "rejection counts", "drift runs")
"""What is deleted and counted."""


def prune(engine: sa.Engine, before: datetime, *, is_dry_run: bool = False) -> Counter[str]:
    """Delete predictions, labels, rejection counts and drift runs from before a time; return how many of each.

    The labels of a deleted prediction go with it. The last run of each model stays, and its last run with a result:
    the drift worker continues from them. A dry run only counts.

    Raises:
        ValueError: the time is naive.
        DatabaseError: the database is unreachable; what was deleted before stays deleted.
    """
    moment, deleted = utc(before), Counter[str]()
    with translated():
        names = sa.inspect(engine).get_table_names()
        for found in filter(None, (re.fullmatch(r"predictions(_[0-9a-f]+)?", name) for name in names)):
            deleted += _Schema(engine, found[1] or "", moment).prune(is_dry_run=is_dry_run)
        if "drift_runs" in names:
            deleted["drift runs"] += _prune_runs(engine, moment, is_dry_run=is_dry_run)
    return deleted


class _Schema:
    """The tables of one feature schema, of which only these columns matter."""

    def __init__(self, engine: sa.Engine, suffix: str, before: datetime) -> None:
        self._engine, self._before = engine, before
        self._predictions = _table(f"predictions{suffix}", "prediction_id", "predicted_at")
        self._labels = _table(f"prediction_labels{suffix}", "prediction_id", "labelled_at")
        self._rejections = _table(f"rejections{suffix}", "items", "minute")

    def prune(self, *, is_dry_run: bool) -> Counter[str]:
        """Delete or count; see `prune`."""
        old, orphans = self._old(), self._orphans()
        if is_dry_run:
            return Counter({
                "predictions": _count(self._engine, old),
                "labels": _count(self._engine, orphans) + _count(self._engine, self._labels_of(old)),
                "rejection counts": _count(self._engine, self._old_rejections()),
            })  # fmt: skip
        deleted = Counter[str]()
        for ids in _batches(self._engine, old.order_by(self._predictions.c.predicted_at)):
            with self._engine.begin() as connection:
                deleted["labels"] += _delete(connection, self._labels, self._labels.c.prediction_id.in_(ids))
                deleted["predictions"] += _delete(
                    connection, self._predictions, self._predictions.c.prediction_id.in_(ids)
                )
        for ids in _batches(self._engine, orphans):
            with self._engine.begin() as connection:
                deleted["labels"] += _delete(connection, self._labels, self._labels.c.prediction_id.in_(ids))
        for end in self._days():
            with self._engine.begin() as connection:
                deleted["rejection counts"] += _delete(connection, self._rejections, self._rejections.c.minute < end)
        return deleted

    def _old(self) -> sa.Select[Any]:
        made = self._predictions.c
        return sa.select(made.prediction_id).where(made.predicted_at < self._before)

    def _labels_of(self, predictions: sa.Select[Any]) -> sa.Select[Any]:
        labels = self._labels.c
        return sa.select(labels.prediction_id).where(labels.prediction_id.in_(predictions))

    def _orphans(self) -> sa.Select[Any]:
        """Labels whose prediction never arrived."""
        made, labels = self._predictions.c, self._labels.c
        has_prediction = sa.exists().where(made.prediction_id == labels.prediction_id)
        return sa.select(labels.prediction_id).where(labels.labelled_at < self._before, ~has_prediction)

    def _old_rejections(self) -> sa.Select[Any]:
        return sa.select(self._rejections.c.minute).where(self._rejections.c.minute < self._before)

    def _days(self) -> Iterator[datetime]:
        """Ends of days from the oldest count on, so that no transaction deletes more than a day."""
        with self._engine.connect() as connection:
            oldest = connection.scalar(sa.select(sa.func.min(self._rejections.c.minute)))
        while oldest is not None and oldest < self._before:
            oldest += timedelta(days=1)
            yield min(oldest, self._before)


def _prune_runs(engine: sa.Engine, before: datetime, *, is_dry_run: bool) -> int:
    runs = tables_for(CHURN_SCHEMA).drift_runs
    newest = (
        sa.select(sa.func.max(runs.c.finished_at)).where(*conditions).group_by(runs.c.model_name)
        for conditions in ((), (runs.c.share.is_not(None),))
    )
    kept = sa.union(*newest).subquery()
    old = sa.select(runs.c.run_id).where(runs.c.finished_at < before, runs.c.finished_at.not_in(sa.select(kept)))
    if is_dry_run:
        return _count(engine, old)
    deleted = 0
    for ids in _batches(engine, old.order_by(runs.c.finished_at)):
        with engine.begin() as connection:
            deleted += _delete(connection, runs, runs.c.run_id.in_(ids))
    return deleted


def _table(name: str, key: str, time: str) -> sa.TableClause:
    return sa.table(name, sa.column(key), sa.column(time, UtcDateTime))


def _batches(engine: sa.Engine, query: sa.Select[Any]) -> Iterator[list[Any]]:
    """The ids that a query selects, in batches, for as long as the caller deletes them."""
    while True:
        with engine.connect() as connection:
            ids = list(connection.scalars(query.limit(BATCH_ROWS)))
        if not ids:
            return
        yield ids


def _count(engine: sa.Engine, query: sa.Select[Any]) -> int:
    with engine.connect() as connection:
        return int(connection.scalar(sa.select(sa.func.count()).select_from(query.subquery())) or 0)


def _delete(connection: sa.Connection, table: sa.TableClause, condition: sa.ColumnElement[bool]) -> int:
    return connection.execute(sa.delete(table).where(condition)).rowcount
