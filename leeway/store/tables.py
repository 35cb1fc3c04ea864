"""The tables of a schema. Each feature has a typed column, and so have predictions and labels.

The names of another schema's tables end with its fingerprint, so several models can share a database.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa

from leeway.schema import CHURN_SCHEMA, FeatureSchema, Kind, Target
from leeway.store.record import RECORD_COLUMNS


class UtcDateTime(sa.TypeDecorator[datetime]):
    """An aware time, stored in UTC. A naive time is rejected."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Reject a naive time; convert an aware one to UTC."""
        return None if value is None else utc(value)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Restore the time zone, which SQLite does not store."""
        return None if value is None else value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)


def utc(moment: datetime) -> datetime:
    """Convert an aware time to UTC.

    Raises:
        ValueError: `moment` is naive.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; give an aware time")
    return moment.astimezone(UTC)


@dataclass(frozen=True)
class Tables:
    """The tables of one feature schema, and `drift_runs`, `erasures` and `prunings`, which all schemas share.

    A feature's column has the key `feature_key(name)`, so a feature called `score` cannot clash with our column.
    """

    schema: FeatureSchema
    metadata: sa.MetaData
    feature_snapshots: sa.Table
    snapshot_labels: sa.Table
    predictions: sa.Table
    prediction_labels: sa.Table
    rejections: sa.Table
    drift_runs: sa.Table
    erasures: sa.Table
    prunings: sa.Table

    def features_of(self, table: sa.Table) -> list[sa.Column[Any]]:
        """The feature columns of `table`, in the schema's order."""
        return [table.c[feature_key(name)] for name in self.schema.names]

    @property
    def probabilities(self) -> list[sa.Column[Any]]:
        """The columns of the classes' probabilities in `predictions`, in the target's order; none if there are none."""
        return [self.predictions.c[key] for key in probability_keys(self.schema.target)]


def feature_key(name: str) -> str:
    """The key of a feature's column."""
    return f"feature:{name}"


def probability_keys(target: Target) -> list[str]:
    """The keys of the columns of the classes' probabilities: of more than two classes, and at most 20."""
    if target.task != "multiclass" or len(target.classes) > MOST_PROBABILITIES:
        return []
    return [f"probability:{place}" for place in range(len(target.classes))]


_COLUMN_TYPE: dict[Kind, sa.types.TypeEngine[Any]] = {
    "number": sa.Double(),
    "integer": sa.BigInteger(),
    "flag": sa.Boolean(),
    "category": sa.Text(),
}
PREDICTED_ON: Final = "predicted_on"
"""The column with the day of a prediction, in a Delta table."""
MOST_PROBABILITIES: Final = 20
"""Of so many classes each has a column with its probability."""
_POSTGRESQL_COLUMNS = ("tableoid", "ctid", "xmin", "xmax", "cmin", "cmax")  # which it adds to every table
_NOT_PLAIN = re.compile(r"\W", re.ASCII)
_LONGEST_NAME = 63
"""PostgreSQL's limit in bytes; feature names are ASCII."""


def tables_for(schema: FeatureSchema) -> Tables:
    """Describe the tables of `schema` without creating them."""
    suffix = "" if schema.fingerprint == CHURN_SCHEMA.fingerprint else f"_{schema.fingerprint}"
    metadata = sa.MetaData()
    return Tables(
        schema=schema,
        metadata=metadata,
        feature_snapshots=sa.Table(
            f"feature_snapshots{suffix}",
            metadata,
            sa.Column("user_id", sa.Text, primary_key=True),
            sa.Column("as_of", sa.Date, primary_key=True, index=True),
            *_feature_columns(schema),
        ),
        snapshot_labels=sa.Table(
            f"snapshot_labels{suffix}",
            metadata,
            sa.Column("user_id", sa.Text, primary_key=True),
            sa.Column("as_of", sa.Date, primary_key=True, index=True),
            sa.Column("label", _COLUMN_TYPE[schema.target.kind], nullable=False),
        ),
        predictions=_predictions_table(metadata, suffix, schema),
        prediction_labels=sa.Table(
            f"prediction_labels{suffix}",
            metadata,
            sa.Column("prediction_id", sa.Text, primary_key=True),
            sa.Column("label", _COLUMN_TYPE[schema.target.kind], nullable=False),
            sa.Column("labelled_at", UtcDateTime, nullable=False),
        ),
        rejections=sa.Table(
            f"rejections{suffix}",
            metadata,
            sa.Column("minute", UtcDateTime, primary_key=True),
            sa.Column("process", sa.Text, primary_key=True),
            sa.Column("feature", sa.Text, primary_key=True),
            sa.Column("reason", sa.Text, primary_key=True),
            sa.Column("items", sa.BigInteger, nullable=False),
        ),
        drift_runs=_drift_runs_table(metadata),
        erasures=sa.Table(
            "erasures",
            metadata,
            sa.Column("user_sha256", sa.Text, primary_key=True, comment="64 hex digits of the customer id's SHA-256"),
            sa.Column("erased_at", UtcDateTime, nullable=False),
            sa.Column("through", sa.Date, nullable=False, comment="snapshots up to this day were deleted"),
        ),
        prunings=sa.Table(
            "prunings",
            metadata,
            sa.Column("pruned_before", UtcDateTime, primary_key=True, comment="predictions before it were deleted"),
        ),
    )


def _predictions_table(metadata: sa.MetaData, suffix: str, schema: FeatureSchema) -> sa.Table:
    return sa.Table(
        f"predictions{suffix}",
        metadata,
        sa.Column("prediction_id", sa.Text, primary_key=True),
        sa.Column("predicted_at", UtcDateTime, nullable=False, index=True),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("user_id", sa.Text, index=True),
        sa.Column("as_of", sa.Date),
        *_feature_columns(schema),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("prediction", _COLUMN_TYPE[schema.target.kind], nullable=False),
        sa.Column("unusual_features", sa.SmallInteger, nullable=False),
        sa.Column("lookup_duration_s", sa.Double),
        sa.Column("inference_duration_s", sa.Double, nullable=False),
        sa.Column("trace_id", sa.Text, comment="32 hex digits; null if the trace was not sampled"),
        sa.Column("span_id", sa.Text, comment="16 hex digits of the server span; null if not sampled"),
        sa.Column("is_synthetic", sa.Boolean, nullable=False, comment="true: excluded from drift windows"),
        *_probability_columns(schema),
    )


def _drift_runs_table(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "drift_runs",
        metadata,
        sa.Column("run_id", sa.Text, primary_key=True),
        sa.Column("finished_at", UtcDateTime, nullable=False, index=True),
        sa.Column("model_name", sa.Text, nullable=False),
        sa.Column("model_version", sa.Text, nullable=False),
        sa.Column("window_from", UtcDateTime, nullable=False),
        sa.Column("window_to", UtcDateTime, nullable=False),
        sa.Column("rows", sa.BigInteger),
        sa.Column("subjects", sa.BigInteger),
        sa.Column("share", sa.Double),
        sa.Column("decision", sa.Text, nullable=False),
        sa.Column("recommendation", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("result", sa.JSON, nullable=False, comment="the run's result.json"),
        sa.Column("state", sa.JSON, nullable=False, comment="the worker's state: confirmed windows, cooldown"),
        sa.Column("trace_id", sa.Text),
    )


def _feature_columns(schema: FeatureSchema) -> list[sa.Column[Any]]:
    """One typed column per feature, with its name."""
    names = _free_names(schema.names, {*RECORD_COLUMNS, PREDICTED_ON, *_POSTGRESQL_COLUMNS})
    return [
        sa.Column(name, _COLUMN_TYPE[feature.kind], key=feature_key(feature.name))
        for name, feature in zip(names, schema, strict=True)
    ]


def _probability_columns(schema: FeatureSchema) -> list[sa.Column[Any]]:
    """One column per class with its probability, `probability_` and the class's name as far as it is plain."""
    keys = probability_keys(schema.target)
    wanted = [f"probability_{_NOT_PLAIN.sub('_', name)}" for name in schema.target.class_names[: len(keys)]]
    taken = {
        *RECORD_COLUMNS,
        PREDICTED_ON,
        *_POSTGRESQL_COLUMNS,
        *(column.name.lower() for column in _feature_columns(schema)),
    }
    return [sa.Column(name, sa.Double, key=key) for name, key in zip(_free_names(wanted, taken), keys, strict=True)]


def _free_names(wanted: Iterable[str], taken: Collection[str]) -> list[str]:
    """The wanted names, shortened if they are too long, with a number if they are taken (SQL ignores case)."""
    names, used = [], set(taken)
    for each in wanted:
        name, number = each[:_LONGEST_NAME], 1
        while name.lower() in used:
            number += 1
            suffix = f"_{number}"
            name = each[: _LONGEST_NAME - len(suffix)] + suffix
        used.add(name.lower())
        names.append(name)
    return names
