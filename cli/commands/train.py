"""`leeway train`, and what others need of a month of snapshots."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
from rich.markup import escape
from rich.table import Table

from cli.commands.ingest import open_snapshots
from cli.options import console, plain_errors, stop
from leeway.data.csv_table import TableError
from leeway.data.tabular import read_table, typed_frame
from leeway.model.bundle import Bundle, BundleError
from leeway.model.performance import Estimate
from leeway.model.training import TrainingData, TrainingError, train
from leeway.model.writer import Origin
from leeway.schema import CHURN_SCHEMA, Feature, FeatureSchema
from leeway.settings import Settings
from leeway.shutdown import interrupt_on_stop_signal
from leeway.store.engine import DatabaseError
from leeway.store.snapshots import Month, Snapshots, UnknownMonth

__all__ = ["card_table", "churn_origin", "labelled_month", "month_data", "open_snapshots", "run_train", "schema_table"]


def run_train(
    settings: Settings,
    *,
    as_of: date | None,
    data: Path | None,
    target: str | None,
    id_column: str | None,
    name: str | None,
) -> None:
    """Train on a month's snapshots or on a file, and print what came of it."""
    if data is not None and target is None:
        stop("--data needs --target COLUMN, the column to predict")
    if data is None and (target or id_column):
        stop("--target and --id go with --data FILE")
    if data is not None and as_of is not None:
        stop("--as-of names a month of snapshots, and does not go with --data FILE")
    with plain_errors(DatabaseError, UnknownMonth, TableError, TrainingError, BundleError), interrupt_on_stop_signal():
        if data is not None and target is not None:
            table = read_table(data, target=target, id_column=id_column)
            training = TrainingData(table.schema, table.frame, np.asarray(table.labels, dtype=np.int64))
            origin = Origin(name=name or data.stem, target=target, source=data.name)
        else:
            month = labelled_month(open_snapshots(settings.database_url), as_of)
            training = month_data(month)
            origin = churn_origin(month.as_of, name or "churn")
        bundle = train(training, settings.bundle, origin)
    out = console()
    out.print(schema_table(bundle.schema))
    out.print(card_table(bundle))
    print(f"Bundle: {bundle.folder}")


def labelled_month(snapshots: Snapshots, as_of: date | None) -> Month:
    """The month of that date, or the newest one with labels."""
    dates = [as_of] if as_of else sorted(snapshots.dates(), reverse=True)
    for each in dates:
        month = snapshots.read(each)
        if month.labels is not None:
            return month
    if not dates:
        raise TrainingError(
            "there are no snapshots yet: run `leeway ingest` on an extract, let `leeway setup` make some up, or name a"
            " table with --data"
        )
    raise TrainingError(f"no labels as of {', '.join(map(str, dates))}: ingest an extract with labels.csv")


def month_data(month: Month) -> TrainingData:
    """A labelled month as training data."""
    labels = np.array(month.labels, dtype=np.int64)
    return TrainingData(CHURN_SCHEMA, typed_frame(CHURN_SCHEMA, month.columns), labels)


def churn_origin(as_of: date, name: str = "churn") -> Origin:
    """What the card says of a model trained on the churn snapshots of a date."""
    return Origin(name=name, target="churn", source="feature snapshots", as_of=as_of.isoformat())


def card_table(bundle: Bundle) -> Table:
    """The model's card for people."""
    card = bundle.card
    table = Table(title=escape(f"Model {bundle.name} {bundle.version}"), show_header=False, title_justify="left")
    trained, held_out = card.trained_on, card.held_out
    share = f", {held_out.positive_share:.1%} of them positive" if held_out.positive_share is not None else ""
    rows = {
        "trained on": ("" if trained.rows is None else f"{trained.rows:,} rows of ")
        + trained.source
        + (f" as of {trained.as_of}" if trained.as_of else ""),
        "held out": f"{held_out.rows:,} rows{share}; the figures below and the drift reference come from them",
        "ROC AUC": _estimate(card.roc_auc),
        "Brier score": _estimate(card.brier),
        "decision threshold": f"{bundle.decision_threshold:g}",
        "scored by": "ONNX Runtime" if card.scorer == "onnx" else f"scikit-learn ({card.scorer_reason})",
        "features": f"{len(bundle.schema)}, each with its drift method and noise",
    }
    for name, value in rows.items():
        table.add_row(name, escape(value))
    return table


def schema_table(schema: FeatureSchema) -> Table:
    """An inferred schema for people."""
    table = Table(
        "feature", "kind", "unit", "range or categories", "may be missing", title="Schema", title_justify="left"
    )
    for feature in schema:
        missing = "yes" if feature.nullable else "no"
        table.add_row(feature.name, feature.kind, feature.unit or "", escape(_range(feature)), missing)
    return table


def _range(feature: Feature) -> str:
    if feature.kind == "flag":
        return "true, false"
    if feature.kind == "category":
        return ", ".join(feature.seen.categories)
    if feature.seen.minimum is None:
        return "never seen"
    return f"{feature.seen.minimum:g} … {feature.seen.maximum:g}"


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return "unknown (no labels)"
    return f"{estimate.value:.3f} (95 %: {estimate.low:.3f} to {estimate.high:.3f})"
