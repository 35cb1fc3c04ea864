"""From a month of snapshots to training data, and a trained bundle as tables for people."""

from __future__ import annotations

import sys
from datetime import date

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from leeway.data.tabular import TrainingData, typed_frame
from leeway.model.bundle import Bundle
from leeway.model.performance import Estimate
from leeway.model.training import TrainingError
from leeway.model.writer import Origin
from leeway.schema import CHURN_SCHEMA, Feature, FeatureSchema
from leeway.store.snapshots import Month, Snapshots

MOST_SHOWN = 20
"""Categories that a table shows."""


def labelled_month(snapshots: Snapshots, as_of: date | None) -> Month:
    """The month of that date, or the newest one with labels.

    Raises:
        TrainingError: there are no snapshots, or they have no labels.
    """
    dates = [as_of] if as_of else sorted(snapshots.dates(), reverse=True)
    for each in dates:
        month = snapshots.read(each)
        if month.labels is not None:
            return month
    if not dates:
        raise TrainingError(
            "there are no snapshots yet: load an extract with `leeway ingest`, generate customers with `leeway setup`,"
            " or train on a table with --data"
        )
    raise TrainingError(f"no labels as of {', '.join(map(str, dates))}: ingest an extract with labels.csv")


def month_data(month: Month) -> TrainingData:
    """A labelled month as training data."""
    labels = np.array(month.labels, dtype=np.int64)
    return TrainingData(CHURN_SCHEMA, typed_frame(CHURN_SCHEMA, month.columns), labels)


def churn_origin(as_of: date, name: str = "churn") -> Origin:
    """The origin of a model trained on the churn snapshots of a date, for its card."""
    return Origin(name=name, target="churn", source="feature snapshots", as_of=as_of.isoformat())


def card_table(bundle: Bundle) -> Table:
    """The model card as a table."""
    card = bundle.card
    table = Table(title=escape(f"Model {bundle.name} {bundle.version}"), show_header=False, title_justify="left")
    trained, held_out = card.trained_on, card.held_out
    share = f", {held_out.positive_share:.1%} of them positive" if held_out.positive_share is not None else ""
    rows = {
        "trained on": ("" if trained.rows is None else f"{trained.rows:,} rows of ")
        + trained.source
        + (f" as of {trained.as_of}" if trained.as_of else ""),
        "held out": f"{held_out.rows:,} rows{share}; the figures below and the drift reference come from them",
        "ROC AUC": _estimate(card.roc_auc, card.baseline.roc_auc if card.baseline else None),
        "Brier score": _estimate(card.brier, card.baseline.brier if card.baseline else None),
        "log loss": _estimate(card.log_loss, card.baseline.log_loss if card.baseline else None),
        "decision threshold": f"{bundle.card.decision_threshold:g}",
        "scored by": "ONNX Runtime" if card.scorer == "onnx" else f"scikit-learn ({card.scorer_reason})",
        "features": f"{len(bundle.schema)}, each with its drift method and noise",
    }
    if worse := card.no_better_than_baseline:
        rows["warning"] = f"no better than the same answer for every row, by {', '.join(worse)}"
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table


def schema_table(schema: FeatureSchema, frame: pd.DataFrame) -> Table:
    """A schema as a table, with how many cells of each column were read as missing."""
    headings = ("feature", "kind", "unit", "range or categories", "may be missing", "missing")
    table = Table(*headings, title="Schema", title_justify="left")
    for feature in schema:
        nullable, missing = "yes" if feature.nullable else "no", int(frame[feature.name].isna().sum())
        share = f"{missing:,} of {len(frame):,}" if missing else "0"
        table.add_row(escape(feature.name), feature.kind, feature.unit or "", escape(_range(feature)), nullable, share)
    return table


def print_reading(data: TrainingData, target: str) -> None:
    """Print how a table was read: its classes and notes, and warnings on standard error."""
    classes, (negative, positive) = data.classes, data.classes.rows
    print(
        f"Target {target}: {classes.positive!r} is the positive class ({positive:,} of {positive + negative:,} rows),"
        f" {classes.negative!r} the other."
    )
    for note in data.notes:
        print(f"Note: {note}.")
    for warning in data.warnings:
        print(f"leeway: warning: {warning}", file=sys.stderr)


def _range(feature: Feature) -> str:
    if feature.kind == "flag":
        return "true, false"
    if feature.kind == "category":
        shown, more = feature.seen.categories[:MOST_SHOWN], len(feature.seen.categories) - MOST_SHOWN
        return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")
    if feature.seen.minimum is None:
        return "no values"
    return f"{feature.seen.minimum:g} … {feature.seen.maximum:g}"


def _estimate(estimate: Estimate | None, baseline: float | None) -> str:
    if estimate is None:
        return "unknown (no labels)"
    constant = "" if baseline is None else f"; a constant answer has {baseline:.3f}"
    return f"{estimate.value:.3f} (95 %: {estimate.low:.3f} to {estimate.high:.3f}){constant}"
