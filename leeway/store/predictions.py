"""Predictions and their labels in the database: written in batches, read as windows with one row a subject.

Errors:
    leeway.store.engine.DatabaseError
    └── PredictionLogError      the database cannot be reached, or is not as it must be: try again later
        └── RecordRejected       a record that the database will never take
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from leeway.schema import Value
from leeway.store.bulk_insert import insert_rows, upsert_rows
from leeway.store.engine import DatabaseError, translated
from leeway.store.prediction_queries import WINDOW_COLUMNS, labelled_query, window_query
from leeway.store.record import PredictionRecord
from leeway.store.tables import Tables, feature_key, utc

_RECORD_COLUMNS = tuple(name for name in PredictionRecord.__struct_fields__ if name != "features")
_of_record = attrgetter(*_RECORD_COLUMNS)


class PredictionLogError(DatabaseError):
    """The database cannot be reached now, or is not as it must be; `__cause__` is the driver's error."""


class RecordRejected(PredictionLogError):
    """A record of the batch can never be stored: a value is missing, of another type or out of range."""


@dataclass(frozen=True)
class PredictionLabel:
    """What turned out to be true of one prediction: 1 or 0."""

    prediction_id: str
    label: int


@dataclass(frozen=True)
class Window:
    """The predictions of [start, end), one row a subject: its last one.

    `rows` counts predictions and `subjects` subjects, both before any limit; `taken` counts the rows here. `features`
    holds a list for each feature, in the schema's order; `columns` one each for `prediction_id`, `predicted_at`,
    `score`, `prediction`, `unusual_features`, `trace_id` and `span_id`. All lists are `taken` long. `model_version` is
    the one that made all of them, None where several did, or where there are none.
    """

    start: datetime
    end: datetime
    rows: int
    subjects: int
    features: dict[str, list[Value]]
    columns: dict[str, list[Any]]
    model_version: str | None = None

    @property
    def taken(self) -> int:
        """How many subjects are here; fewer than `subjects` where a limit cut them."""
        return len(self.columns["prediction_id"])


@dataclass(frozen=True)
class Labelled:
    """Scores and labels of predictions, newest first. The times span the labels that came by feedback, if any did."""

    scores: list[float]
    labels: list[int]
    labelled_from: datetime | None
    labelled_to: datetime | None


class PredictionLog:
    """The predictions of one feature schema. The tables must be there (`leeway.store.engine.create_tables`)."""

    def __init__(self, engine: sa.Engine, tables: Tables) -> None:
        self._engine = engine
        self._tables = tables
        self._keys = (*_RECORD_COLUMNS, *map(feature_key, tables.schema.names))

    def ping(self) -> None:
        """Ask the database for an answer.

        Raises:
            PredictionLogError: there is none.
        """
        with translated_errors(), self._engine.connect() as connection:
            connection.execute(sa.select(1))

    def write_batch(self, records: Sequence[PredictionRecord]) -> None:
        """Store all of the records or none; one that is there already (by `prediction_id`) is passed over.

        Raises:
            RecordRejected: one of them can never be stored; the others may.
            PredictionLogError: the database cannot be reached now.
        """
        with translated_errors(), _refusing(), self._engine.begin() as connection:
            rows = [(*_of_record(record), *record.features) for record in records]
            insert_rows(connection, self._tables.predictions, self._keys, rows, ignore_duplicates=True)

    def write_labels(self, labels: Sequence[PredictionLabel], labelled_at: datetime) -> None:
        """Store labels; the last one of a prediction counts. The prediction itself may still be on its way here.

        Raises:
            ValueError: `labelled_at` is naive.
            PredictionLogError: the database cannot be reached now; nothing was stored.
        """
        moment = utc(labelled_at)
        last = {each.prediction_id: each.label for each in labels}
        rows = [
            {"prediction_id": prediction_id, "label": label, "labelled_at": moment}
            for prediction_id, label in sorted(last.items())  # one order for all writers: no deadlock
        ]
        with translated_errors(), self._engine.begin() as connection:
            upsert_rows(connection, self._tables.prediction_labels, rows)

    def window(self, start: datetime, end: datetime, limit: int | None = None) -> Window:
        """Read the predictions of [start, end), aware times, one row a subject: its last one; checks are left out.

        The subject is the customer, or the prediction itself where none was named; its last prediction is the one with
        the greatest id (a UUIDv7). With a limit, subjects are drawn by the random digits of that id: an even sample,
        the same one whenever the window is read again. Rows come in the order of their ids.

        Raises:
            ValueError: a time is naive.
            PredictionLogError: the database cannot be read now.
        """
        start, end = utc(start), utc(end)
        with translated_errors(), self._engine.connect() as connection:
            found = connection.execute(window_query(self._tables, start, end, limit)).all()
        names = self._tables.schema.names
        rows, subjects, oldest, newest = found[0][-4:] if found else (0, 0, None, None)
        lists = [list(values) for values in zip(*found, strict=True)] or [[] for _ in (*names, *WINDOW_COLUMNS)]
        features = dict(zip(names, lists, strict=False))
        columns = dict(zip(WINDOW_COLUMNS, lists[len(names) :], strict=False))
        return Window(start, end, rows, subjects, features, columns, oldest if oldest == newest else None)

    def mark(self, prediction_id: str) -> bool | None:
        """Whether a prediction was made as a check only; None where the database does not have it (yet).

        Raises:
            PredictionLogError: the database cannot be read now.
        """
        made = self._tables.predictions.c
        with translated_errors(), self._engine.connect() as connection:
            return connection.scalar(sa.select(made.is_synthetic).where(made.prediction_id == prediction_id))

    def labelled(self, model_version: str, limit: int) -> Labelled:
        """Read the last `limit` labelled predictions of a model version, newest prediction first.

        A prediction has one label: that of its feedback, or else the one ingested with the month that its features
        came from (same customer, same `as_of`). So a prediction made from given features is labelled by feedback only.
        One outcome counts once: of several predictions for a customer from the same snapshot, the last one. Checks are
        left out.

        Raises:
            PredictionLogError: the database cannot be read now.
        """
        with translated_errors(), self._engine.connect() as connection:
            found = connection.execute(labelled_query(self._tables, model_version, limit)).all()
        times = [moment for _, _, moment in found if moment is not None]
        return Labelled(
            scores=[score for score, _, _ in found],
            labels=[label for _, label, _ in found],
            labelled_from=min(times, default=None),
            labelled_to=max(times, default=None),
        )


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn any driver error inside the block into a `PredictionLogError`."""
    try:
        with translated():
            yield
    except PredictionLogError:
        raise
    except DatabaseError as error:
        raise PredictionLogError(str(error)) from (error.__cause__ or error)


@contextmanager
def _refusing() -> Iterator[None]:
    """Tell what can never be stored from what cannot be stored now."""
    try:
        yield
    except (sa.exc.DataError, sa.exc.IntegrityError, ValueError, OverflowError) as error:
        raise RecordRejected(_first_line(error)) from error
    except sa.exc.StatementError as error:
        # Not the driver's but about a value (a flag that is none, a naive time); or a type that SQLite cannot bind.
        if isinstance(error.orig, ValueError | TypeError | OverflowError) or "binding parameter" in str(error.orig):
            raise RecordRejected(_first_line(error)) from error
        raise


def _first_line(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
