"""From a month of snapshots to training data, and a trained bundle as tables for people."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import date

import numpy as np
import pandas as pd
from rich.markup import escape
from rich.table import Table

from leeway.data.tabular import TrainingData, typed_frame
from leeway.model.bundle import Bundle
from leeway.model.card import Card
from leeway.model.figures import FIGURES, TITLES, Figure
from leeway.model.training import TrainingError
from leeway.model.writer import Origin
from leeway.schema import CHURN_SCHEMA, Feature, FeatureSchema, Target, class_name
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
    share = ""
    if card.target.positive is not None and held_out.label_shares:
        share = f", {held_out.label_shares[class_name(card.target.positive)]:.1%} of them positive"
    rows = {
        "target": describe_target(card.target),
        "trained on": ("" if trained.rows is None else f"{trained.rows:,} rows of ")
        + trained.source
        + (f" as of {trained.as_of}" if trained.as_of else ""),
        "held out": f"{held_out.rows:,} rows{share}; the figures below and the drift reference come from them",
        **{TITLES[name]: _estimate(card, name) for name in FIGURES[card.target.task]},
        "scored by": "ONNX Runtime" if card.scorer == "onnx" else f"scikit-learn ({card.scorer_reason})",
        "features": f"{len(bundle.schema)}, each with its drift method and noise",
    }
    if card.decision_threshold is not None:
        rows["decision threshold"] = f"{card.decision_threshold:g}"
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


def describe_target(target: Target) -> str:
    """The task and its classes, for people."""
    if target.task == "regression":
        return f"{target.name}, a number (regression)"
    shown, more = target.class_names[:MOST_SHOWN], len(target.classes) - MOST_SHOWN
    classes = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    positive = "" if target.positive is None else f"; the positive one is {class_name(target.positive)}"
    return f"{target.name}, one of the classes {classes} ({target.task}){positive}"


def print_reading(data: TrainingData) -> None:
    """Print how a table was read: its target and notes, and warnings on standard error."""
    target = data.schema.target
    print(f"Target {describe_target(target)}.")
    if target.task == "regression":
        print(f"Its values: {data.labels.min():g} to {data.labels.max():g}, mean {data.labels.mean():g}.")
    else:
        counts = Counter(data.labels.tolist())
        rows = [f"{class_name(each)}: {counts[each]:,}" for each in target.classes[:MOST_SHOWN]]
        print(f"Rows by class: {', '.join(rows)}{', …' if len(target.classes) > MOST_SHOWN else ''}.")
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


def _estimate(card: Card, name: Figure) -> str:
    estimate = card.figures.get(name)
    if estimate is None:
        return "unknown (no labels)"
    constant = f"; a constant answer has {card.baseline[name]:.3f}" if name in card.baseline else ""
    return f"{estimate.value:.3f} (95 %: {estimate.low:.3f} to {estimate.high:.3f}){constant}"
