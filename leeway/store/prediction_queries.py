"""How predictions are asked for in SQL: a window with one row a subject, and the last labelled ones."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from leeway.store.tables import Tables

WINDOW_COLUMNS = ("prediction_id", "predicted_at", "score", "prediction", "unusual_features", "trace_id", "span_id")
_PLACE, _ROWS, _OLDEST, _NEWEST = "#place", "#rows", "#oldest", "#newest"  # no feature can be called that
_RANDOM_PART = 29
"""Where the last eight digits of a UUID in text begin; those before hold a counter, so that a batch's ids are alike."""


def window_query(tables: Tables, start: datetime, end: datetime, limit: int | None) -> sa.Select[Any]:
    """What `PredictionLog.window` asks: features, `WINDOW_COLUMNS`, then rows, subjects, least and greatest version.

    In two steps: who is in the sample, by narrow rows; then all columns of these alone.
    """
    made = tables.predictions.c
    inside = (made.predicted_at >= start, made.predicted_at < end, made.is_synthetic.is_(sa.false()))
    subject = (made.user_id, sa.case((made.user_id.is_(None), made.prediction_id)))
    # Ranking by time would sort the whole window; ids are UUIDv7, so the greatest is the last.
    last = sa.select(sa.func.max(made.prediction_id).label("id")).where(*inside).group_by(*subject).cte("last")
    versions = sa.func.min(made.model_version).label(_OLDEST), sa.func.max(made.model_version).label(_NEWEST)
    whole = sa.select(sa.func.count().label(_ROWS), *versions).where(*inside).cte("whole")
    taken = sa.select(last.c.id)
    if limit is not None:
        taken = taken.order_by(sa.func.substr(last.c.id, _RANDOM_PART)).limit(limit)
    drawn = taken.cte("drawn")
    subjects = sa.select(sa.func.count()).select_from(last).scalar_subquery()
    wanted = [*tables.features_of(tables.predictions), *(made[name] for name in WINDOW_COLUMNS)]
    return (
        sa.select(*wanted, whole.c[_ROWS], subjects, whole.c[_OLDEST], whole.c[_NEWEST])
        .select_from(drawn)
        .join(tables.predictions, made.prediction_id == drawn.c.id)
        .join(whole, sa.true())
        .order_by(made.prediction_id)
    )


def labelled_query(tables: Tables, model_version: str, limit: int) -> sa.Select[Any]:
    """What `PredictionLog.labelled` asks: score, label and when it came, newest prediction first."""
    made, fed, known = tables.predictions, tables.prediction_labels, tables.snapshot_labels
    label = sa.func.coalesce(fed.c.label, known.c.label)
    # The case goes first: by customer first, SQLite would walk the whole table in the order of that index.
    outcome = (sa.case((made.c.user_id.is_(None), made.c.prediction_id)), made.c.user_id, made.c.as_of)
    newest_first = (made.c.predicted_at.desc(), made.c.prediction_id.desc())
    ranked = (
        sa.select(
            made.c.prediction_id,
            made.c.predicted_at,
            made.c.score,
            label.label("label"),
            fed.c.labelled_at,
            sa.func.row_number().over(partition_by=outcome, order_by=newest_first).label(_PLACE),
        )
        .outerjoin_from(made, fed, made.c.prediction_id == fed.c.prediction_id)
        .outerjoin(known, sa.and_(made.c.user_id == known.c.user_id, made.c.as_of == known.c.as_of))
        .where(made.c.model_version == model_version, made.c.is_synthetic.is_(sa.false()), label.is_not(None))
        .subquery()
    )
    return (
        sa.select(ranked.c.score, ranked.c.label, ranked.c.labelled_at)
        .where(ranked.c[_PLACE] == 1)
        .order_by(ranked.c.predicted_at.desc(), ranked.c.prediction_id.desc())
        .limit(limit)
    )
