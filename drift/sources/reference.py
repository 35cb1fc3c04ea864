"""What a source's predictions are compared with: a period of them, one that was kept, or a bundle's reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from drift.comparison.columns import counted, present
from drift.comparison.compare import PreparedReference
from drift.comparison.findings import TooFewRows
from drift.inputs import model_of
from drift.result import Model, Window
from drift.sources.errors import SourceError
from drift.sources.performance import ReferencePerformance
from drift.sources.periods import Period
from drift.sources.reading import Limits, facts_of, labelled_rows, read_values
from drift.sources.segments import SegmentedReference
from drift.sources.table import PredictionTable
from leeway.model.bundle import Bundle
from leeway.model.drift_plan import ColumnPlan, DriftPlan, Values, clipped, list_values
from leeway.model.encoding import USUAL_QUANTILES
from leeway.schema import SCORE_COLUMN, Feature, FeatureSchema, Kind, Seen

MAX_CATEGORIES: Final = 1_000
"""Text with more different values identifies something, and is not a feature."""
FORMAT: Final = 1
REFERENCE_FILE, VALUES_FILE = "reference.json", "values.parquet"
BY_COLUMN: Final = "#by"
"""The column of texts in `values.parquet`; no feature has this name."""


class KeptReference(msgspec.Struct, frozen=True):
    """What `reference.json` says; the values are in the file next to it."""

    format: int
    window: Window
    model: Model
    schema: FeatureSchema
    plan: DriftPlan
    performance: ReferencePerformance | None
    by: str | None = None


@dataclass(frozen=True)
class SourceReference:
    """A reference with what else is known of its rows: which model made them, and how it did by their labels.

    `texts` are those of the column `by`. `segments` are the reference by a column, if the run is asked for that.
    """

    reference: PreparedReference
    values: Mapping[str, Values]
    window: Window
    model: Model
    performance: ReferencePerformance | None
    by: str | None = None
    texts: Values | None = None
    segments: SegmentedReference | None = None

    @property
    def schema(self) -> FeatureSchema:
        """The features that are compared."""
        return self.reference.schema

    def divided(self, by: str) -> SourceReference:
        """The same with its segments by a column: the one whose texts it has, or a feature that is a category.

        Raises:
            SourceError: it has no such column, or the column has too many values.
        """
        texts = self.texts if by == self.by else None
        if texts is None and by in self.schema and self.schema[by].kind == "category":
            texts = self.values[by]
        if texts is None:
            raise SourceError(f"--by {by}: the reference does not have this column; make it again with --by {by}")
        segments = SegmentedReference.of(by, texts, self.values, self.schema, self.reference.plan)
        return replace(self, segments=segments)


def reference_of(table: PredictionTable, period: Period, limits: Limits, *, by: str | None = None) -> SourceReference:
    """Infer schema, methods, thresholds and noise constants from a period of a table; read the texts of `by`, too.

    Raises:
        SourceError: the period has no rows or too many, or a column cannot be compared.
    """
    with table.snapshot() as view:
        facts = facts_of(view, table, period, limits.max_rows)
        if not facts.rows:
            raise table.error(f"the reference has no rows: {period}")
        subjects, values, texts = read_values(view, table, period, by)
        rows = labelled_rows(view, table, period, limits.max_labels)
    schema = FeatureSchema(tuple(_feature(table, name, values[name]) for name in table.features))
    plans = {each.name: ColumnPlan.of(each.kind, clipped(values[each.name]), features=len(schema)) for each in schema}
    score = ColumnPlan.of("number", values[SCORE_COLUMN], features=1) if SCORE_COLUMN in values else None
    start, end = (None if moment is None else moment.isoformat() for moment in (period.start, period.end))
    window = Window(start, end, facts.rows, subjects)
    reference = PreparedReference(values, schema, DriftPlan(plans, score))
    performance = None if rows is None else ReferencePerformance.of(rows)
    return SourceReference(reference, values, window, facts.model, performance, by, texts)


def _feature(table: PredictionTable, name: str, values: Values) -> Feature:
    """A feature with what the reference has of it."""
    kind, there = table.features[name].kind, present(values)
    missing = 1 - there.size / max(1, values.size)
    if kind == "category":
        categories = tuple(sorted(counted(there)))
        if len(categories) > MAX_CATEGORIES:
            raise table.error(
                f"feature {name!r} is text with {len(categories):,} different values (at most {MAX_CATEGORIES:,}):"
                " leave it out of `features` in the mapping",
                table.features[name].column,
            )
        return Feature(name, kind, nullable=True, seen=Seen(categories=categories, missing_share=missing))
    if not there.size:
        return Feature(name, kind, nullable=True, seen=Seen(missing_share=missing))
    low, high = np.quantile(there, USUAL_QUANTILES).tolist()
    seen = Seen(float(there.min()), float(there.max()), low, high, missing_share=missing)
    return Feature(name, kind, nullable=True, seen=seen)


def bundle_reference(bundle: Bundle) -> SourceReference:
    """The reference of a model bundle."""
    values = bundle.reference_values()
    reference = PreparedReference(values, bundle.schema, bundle.card.drift)
    window, performance = Window(rows=reference.rows, subjects=reference.rows), None
    if bundle.card.target.takes_flags:  # as the labels of a table
        performance = ReferencePerformance(bundle.card.figures, bundle.card.held_out)
    return SourceReference(reference, values, window, model_of(bundle), performance)


def keep_reference(made: SourceReference, folder: Path) -> None:
    """Write a reference into a new folder.

    Raises:
        OSError: the folder exists, or cannot be written.
    """
    import pyarrow as pa  # noqa: PLC0415 (a run that keeps nothing does without)
    import pyarrow.parquet as pq  # noqa: PLC0415 (as above)

    folder.mkdir(parents=True)
    kept = KeptReference(FORMAT, made.window, made.model, made.schema, made.reference.plan, made.performance, made.by)
    columns = {name: pa.array(values, from_pandas=True) for name, values in made.values.items()}
    if made.texts is not None:
        columns[BY_COLUMN] = pa.array(made.texts, from_pandas=True)
    pq.write_table(pa.table(columns), folder / VALUES_FILE, compression="zstd")
    (folder / REFERENCE_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=2) + b"\n")


def kept_reference(folder: Path) -> SourceReference:
    """Read a reference that was kept.

    Raises:
        SourceError: the folder does not hold one, or it is damaged.
    """
    import pyarrow as pa  # noqa: PLC0415 (as above)
    import pyarrow.parquet as pq  # noqa: PLC0415 (as above)

    try:
        kept = msgspec.json.decode((folder / REFERENCE_FILE).read_bytes(), type=KeptReference)
        with pq.ParquetFile(folder / VALUES_FILE) as file:  # `read_table` would import pandas
            table = file.read()
        kinds: dict[str, Kind] = {each.name: each.kind for each in kept.schema}
        if kept.plan.score is not None:
            kinds[SCORE_COLUMN] = "number"
        values = {name: list_values(table[name].to_pylist(), kind) for name, kind in kinds.items()}
        texts = list_values(table[BY_COLUMN].to_pylist(), "category") if kept.by else None
        reference = PreparedReference(values, kept.schema, kept.plan)
    except (OSError, msgspec.MsgspecError, pa.ArrowException, KeyError, ValueError, TooFewRows) as error:
        raise SourceError(f"{folder} holds no usable reference: {error}; make it again") from error
    return SourceReference(reference, values, kept.window, kept.model, kept.performance, kept.by, texts)
