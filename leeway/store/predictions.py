"""Predictions and their labels in the database: written in batches, read as windows with one row per subject."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any

import sqlalchemy as sa

from leeway.schema import FeatureRow, Label, Value
from leeway.store.bulk_insert import insert_rows, upsert_rows
from leeway.store.engine import DatabaseError, Rows, first_line, translated
from leeway.store.erasures import erased_among, lock_storing
from leeway.store.record import RECORD_COLUMNS, PredictionRecord
from leeway.store.tables import Tables, feature_key, probability_keys, utc

_record_values = attrgetter(*RECORD_COLUMNS)
_WINDOW_COLUMNS = ("prediction_id", "predicted_at", "score", "prediction", "unusual_features", "trace_id", "span_id")
_TRACED = ("trace_id", "span_id", "prediction_id", "unusual_features", "user_id")
_RANK, _ROWS, _MIN_VERSION, _MAX_VERSION = "#rank", "#rows", "#min_version", "#max_version"  # never a feature's name
_RANDOM_PART = 29
"""Position of the last eight digits of a UUID's text. The digits before them hold a counter, so they are similar
within a batch."""


class PredictionLogError(DatabaseError):
    """Predictions cannot be read or written now: try again later. `__cause__` is the driver's error."""


class RecordRejected(PredictionLogError):
    """A record of the batch can never be stored: a value is missing, has the wrong type or is out of range."""


@dataclass(frozen=True)
class PredictionLabel:
    """The observed outcome of one prediction: a class of the target, or a number."""

    prediction_id: str
    label: Label


@dataclass(frozen=True)
class PredictionWindow:
    """The predictions of [start, end), one row per subject: its last one.

    `rows` counts predictions and `subjects` counts subjects, both before any limit; `taken` counts the rows here.
    `features` holds one list per feature, in the schema's order; `columns` one list each for `prediction_id`,
    `predicted_at`, `score`, `prediction`, `unusual_features`, `trace_id` and `span_id`. Every list has `taken` entries.
    `model_version` is the version that made all of them, or None if there are several versions or no rows.
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
        """The number of subjects in the lists; less than `subjects` if a limit applied."""
        return len(self.columns["prediction_id"])


@dataclass(frozen=True)
class TracedRow:
    """A prediction with the trace that made it; `features` are in the schema's order."""

    trace_id: str
    span_id: str
    prediction_id: str
    unusual_features: int
    user_id: str | None
    features: FeatureRow


@dataclass(frozen=True)
class Labelled:
    """Predictions and their labels, newest first. The times span the labels that came as feedback, if any did.

    `probabilities` are those of all classes, None if the table does not have them.
    """

    scores: list[float]
    predictions: list[Label]
    probabilities: list[tuple[float, ...]] | None
    labels: list[Label]
    labelled_from: datetime | None
    labelled_to: datetime | None


class PredictionLog:
    """The predictions of one feature schema. Create the tables first (`leeway.store.engine.create_tables`).

    >>> from datetime import UTC, datetime, timedelta
    >>> from leeway.schema import Feature, FeatureSchema
    >>> from leeway.store.engine import create_tables, open_engine
    >>> from leeway.store.tables import tables_for
    >>> engine, tables = open_engine("sqlite://"), tables_for(FeatureSchema((Feature("age", "integer"),)))
    >>> create_tables(engine, tables)
    >>> log, noon = PredictionLog(engine, tables), datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> log.write_batch([PredictionRecord("id-1", noon, "v1", "ann", None, (42,), 0.7, 1, 0, None, 0.001, None, None)])
    >>> log.write_labels([PredictionLabel("id-1", 1)], noon)
    >>> window = log.window(noon, noon + timedelta(hours=1))
    >>> window.rows, window.features, window.columns["score"]
    (1, {'age': [42]}, [0.7])
    >>> engine.dispose()
    """

    def __init__(self, engine: sa.Engine, tables: Tables) -> None:
        self._engine = engine
        self._tables = tables
        probabilities = probability_keys(tables.schema.target)
        self._keys = (*RECORD_COLUMNS, *map(feature_key, tables.schema.names), *probabilities)
        self._has_probabilities = bool(probabilities)

    def ping(self) -> None:
        """Check that the database responds.

        Raises:
            PredictionLogError: the database is unreachable.
        """
        with translated(into=PredictionLogError), self._engine.connect() as connection:
            connection.execute(sa.select(1))

    def write_batch(self, records: Sequence[PredictionRecord]) -> None:
        """Store all of the records or none.

        Skips a record whose `prediction_id` is already stored, and drops one of a customer whose data was deleted since
        it was made, with its label.

        Raises:
            RecordRejected: one of them can never be stored; the others may be valid.
            PredictionLogError: the database is unreachable.
        """
        with translated(into=PredictionLogError), _rejecting(), self._engine.begin() as connection:
            lock_storing(connection)
            if erased := erased_among(connection, self._tables.erasures, records):
                labels = self._tables.prediction_labels
                connection.execute(sa.delete(labels).where(labels.c.prediction_id.in_(erased)))
            rows = [
                (*_record_values(record), *record.features, *(record.probabilities if self._has_probabilities else ()))
                for record in records
                if record.prediction_id not in erased
            ]
            insert_rows(connection, self._tables.predictions, self._keys, rows, ignore_duplicates=True)

    def write_labels(self, labels: Sequence[PredictionLabel], labelled_at: datetime) -> None:
        """Store labels, replacing earlier ones. The prediction itself may still wait in the spool.

        Raises:
            ValueError: `labelled_at` is naive.
            PredictionLogError: the database is unreachable; nothing was stored.
        """
        moment = utc(labelled_at)
        last = {each.prediction_id: each.label for each in labels}
        rows = [
            {"prediction_id": prediction_id, "label": label, "labelled_at": moment}
            for prediction_id, label in sorted(last.items())  # the same order for all writers prevents deadlocks
        ]
        with translated(into=PredictionLogError), self._engine.begin() as connection:
            upsert_rows(connection, self._tables.prediction_labels, rows)

    def window(self, start: datetime, end: datetime, limit: int | None = None) -> PredictionWindow:
        """Read the last prediction of each subject in [start, end), aware times, without synthetic requests.

        A subject is a customer, or the prediction itself if the request named no customer. Its last prediction is the
        one with the greatest id (a UUIDv7). A limit samples subjects evenly by the random digits of that id, so a
        repeated read returns the same sample. Rows are in the order of their ids.

        Raises:
            ValueError: a time is naive.
            PredictionLogError: the database is unreachable.
        """
        start, end = utc(start), utc(end)
        with translated(into=PredictionLogError), self._engine.connect() as connection:
            found = connection.execute(_window_query(self._tables, start, end, limit)).all()
        names = self._tables.schema.names
        rows, subjects, min_version, max_version = found[0][-4:] if found else (0, 0, None, None)
        lists = [list(values) for values in zip(*found, strict=True)] or [[] for _ in (*names, *_WINDOW_COLUMNS)]
        features = dict(zip(names, lists, strict=False))
        columns = dict(zip(_WINDOW_COLUMNS, lists[len(names) :], strict=False))
        return PredictionWindow(
            start, end, rows, subjects, features, columns, min_version if min_version == max_version else None
        )

    def totals(self, start: datetime, end: datetime) -> Rows:
        """The statement that counts the predictions of [start, end): their number, the least and greatest version.

        Raises:
            ValueError: a time is naive.
        """
        made = self._tables.predictions.c
        versions = [sa.func.min(made.model_version), sa.func.max(made.model_version)]
        counts: list[sa.ColumnElement[Any]] = [sa.func.count(), *versions]
        return sa.select(*counts).where(*_inside(self._tables, start, end))

    def last_rows(self, start: datetime, end: datetime) -> Rows:
        """The statement that selects the last prediction of each subject in [start, end), as `window` does.

        Its columns are the features, by `leeway.store.tables.feature_key`, `score` and `prediction`.

        Raises:
            ValueError: a time is naive.
        """
        made, last = self._tables.predictions.c, _last_of_subjects(self._tables, start, end).subquery("last")
        features = self._tables.features_of(self._tables.predictions)
        return sa.select(*features, made.score, made.prediction).join(last, made.prediction_id == last.c.id)

    def most_unusual(self, start: datetime, end: datetime, limit: int) -> list[TracedRow]:
        """Of the predictions of [start, end) whose trace was sampled, those with the most unusual features first.

        Raises:
            ValueError: a time is naive.
            PredictionLogError: the database is unreachable.
        """
        made = self._tables.predictions.c
        query = (
            sa.select(*(made[name] for name in _TRACED), *self._tables.features_of(self._tables.predictions))
            .where(*_inside(self._tables, start, end), made.trace_id.is_not(None), made.span_id.is_not(None))
            .order_by(made.unusual_features.desc(), made.prediction_id.desc())
            .limit(limit)
        )
        with translated(into=PredictionLogError), self._engine.connect() as connection:
            found = connection.execute(query).all()
        return [TracedRow(row[0], row[1], row[2], row[3], row[4], tuple(row[5:])) for row in found]

    def is_synthetic(self, prediction_id: str) -> bool | None:
        """Whether a prediction belongs to a synthetic request; None if the database does not have it (yet).

        Raises:
            PredictionLogError: the database is unreachable.
        """
        made = self._tables.predictions.c
        with translated(into=PredictionLogError), self._engine.connect() as connection:
            return connection.scalar(sa.select(made.is_synthetic).where(made.prediction_id == prediction_id))

    def labelled(self, model_version: str, limit: int) -> Labelled:
        """Read the last `limit` labelled predictions of a model version, newest first, without synthetic requests.

        The label of a prediction is its feedback, or else the label ingested with the snapshot it was made from (same
        customer, same `as_of`). A prediction from features in the request can only have feedback. Of several
        predictions for a customer from the same snapshot, only the last one counts.

        Raises:
            PredictionLogError: the database is unreachable.
        """
        with translated(into=PredictionLogError), self._engine.connect() as connection:
            found = connection.execute(_labelled_query(self._tables, model_version, limit)).all()
        times = [row[1] for row in found if row[1] is not None]
        return Labelled(
            scores=[row[2] for row in found],
            predictions=[row[3] for row in found],
            probabilities=[tuple(row[4:]) for row in found] if self._has_probabilities else None,
            labels=[row[0] for row in found],
            labelled_from=min(times, default=None),
            labelled_to=max(times, default=None),
        )


@contextmanager
def _rejecting() -> Iterator[None]:
    """Raise what can never be stored as `RecordRejected`; anything else may succeed later."""
    try:
        yield
    except (sa.exc.DataError, sa.exc.IntegrityError, ValueError, OverflowError) as error:
        raise RecordRejected(first_line(error)) from error
    except sa.exc.StatementError as error:
        # A value that SQLAlchemy cannot convert (an invalid flag, a naive time), or a type that SQLite cannot bind.
        if isinstance(error.orig, ValueError | TypeError | OverflowError) or "binding parameter" in str(error.orig):
            raise RecordRejected(first_line(error)) from error
        raise


def _inside(tables: Tables, start: datetime, end: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    made = tables.predictions.c
    return made.predicted_at >= utc(start), made.predicted_at < utc(end), made.is_synthetic.is_(sa.false())


def _last_of_subjects(tables: Tables, start: datetime, end: datetime) -> sa.Select[Any]:
    """Select the `id` of each subject's last prediction."""
    made = tables.predictions.c
    subject = (made.user_id, sa.case((made.user_id.is_(None), made.prediction_id)))
    # Ranking by time would sort the whole window; ids are UUIDv7, so the greatest is the last.
    last = sa.func.max(made.prediction_id).label("id")
    return sa.select(last).where(*_inside(tables, start, end)).group_by(*subject)


def _window_query(tables: Tables, start: datetime, end: datetime, limit: int | None) -> sa.Select[Any]:
    """Select features, `_WINDOW_COLUMNS`, the number of rows and of subjects, and the least and greatest version.

    It works in two steps: sample the subjects from narrow rows, then read all columns of the sampled rows only.
    """
    made = tables.predictions.c
    inside = _inside(tables, start, end)
    last = _last_of_subjects(tables, start, end).cte("last")
    versions = sa.func.min(made.model_version).label(_MIN_VERSION), sa.func.max(made.model_version).label(_MAX_VERSION)
    whole = sa.select(sa.func.count().label(_ROWS), *versions).where(*inside).cte("whole")
    sample = sa.select(last.c.id)
    if limit is not None:
        sample = sample.order_by(sa.func.substr(last.c.id, _RANDOM_PART)).limit(limit)
    sampled = sample.cte("sampled")
    subjects = sa.select(sa.func.count()).select_from(last).scalar_subquery()
    wanted = [*tables.features_of(tables.predictions), *(made[name] for name in _WINDOW_COLUMNS)]
    return (
        sa.select(*wanted, whole.c[_ROWS], subjects, whole.c[_MIN_VERSION], whole.c[_MAX_VERSION])
        .select_from(sampled)
        .join(tables.predictions, made.prediction_id == sampled.c.id)
        .join(whole, sa.true())
        .order_by(made.prediction_id)
    )


def _labelled_query(tables: Tables, model_version: str, limit: int) -> sa.Select[Any]:
    """Select label, time of feedback, score, prediction and probabilities, newest prediction first."""
    made, feedback, ingested = tables.predictions, tables.prediction_labels, tables.snapshot_labels
    label = sa.func.coalesce(feedback.c.label, ingested.c.label)
    # The case comes first: with the customer first, SQLite would walk the whole table in the order of that index.
    outcome = (sa.case((made.c.user_id.is_(None), made.c.prediction_id)), made.c.user_id, made.c.as_of)
    newest_first = (made.c.predicted_at.desc(), made.c.prediction_id.desc())
    ranked = (
        sa.select(
            made.c.prediction_id,
            made.c.predicted_at,
            label.label("label"),
            feedback.c.labelled_at,
            made.c.score,
            made.c.prediction,
            *tables.probabilities,
            sa.func.row_number().over(partition_by=outcome, order_by=newest_first).label(_RANK),
        )
        .outerjoin_from(made, feedback, made.c.prediction_id == feedback.c.prediction_id)
        .outerjoin(ingested, sa.and_(made.c.user_id == ingested.c.user_id, made.c.as_of == ingested.c.as_of))
        .where(made.c.model_version == model_version, made.c.is_synthetic.is_(sa.false()), label.is_not(None))
        .subquery()
    )
    probabilities = [ranked.c[column.key] for column in tables.probabilities]
    return (
        sa.select(*(ranked.c[name] for name in ("label", "labelled_at", "score", "prediction")), *probabilities)
        .where(ranked.c[_RANK] == 1)
        .order_by(ranked.c.predicted_at.desc(), ranked.c.prediction_id.desc())
        .limit(limit)
    )
