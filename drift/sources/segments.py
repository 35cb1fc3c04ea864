"""A reference and a period by the values of one column."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from drift.aggregates.databases import DatabaseView
from drift.aggregates.window import part_columns
from drift.comparison.compare import PreparedReference
from drift.inputs import SegmentInputs
from drift.sources.errors import SourceError
from drift.sources.periods import Period
from drift.sources.statements import BY, segment_counts, selection
from drift.sources.table import PredictionTable
from leeway.model.drift_plan import ColumnPlan, DriftPlan, Values, clipped
from leeway.schema import FeatureSchema

MOST_SEGMENTS: Final = 50


@dataclass(frozen=True)
class SegmentedReference:
    """A reference by the values of the column `by`."""

    by: str
    references: Mapping[str, PreparedReference]

    @classmethod
    def of(
        cls, by: str, texts: Values, values: Mapping[str, Values], schema: FeatureSchema, plan: DriftPlan
    ) -> SegmentedReference:
        """Divide the rows of a reference by the text that each has in the column.

        Methods are those of the whole. Noise constants are larger, so that a run without drift raises a false detection
        in any of the segments at most once in twenty; each segment's threshold depends on its own size.

        Raises:
            SourceError: the column has too many values.
        """
        counts = Counter(text for text in texts.tolist() if text is not None)
        if len(counts) > MOST_SEGMENTS:
            raise SourceError(
                f"--by {by}: the reference has {len(counts)} values; at most {MOST_SEGMENTS} are segments"
            )
        compared = len(schema) * max(1, len(counts))
        stricter = {
            each.name: ColumnPlan.of(each.kind, clipped(values[each.name]), features=compared) for each in schema
        }
        plans = {
            name: ColumnPlan(before.method, before.threshold, max(before.noise_constant, stricter[name].noise_constant))
            for name, before in plan.features.items()
        }
        references = {
            text: PreparedReference(
                {each.name: values[each.name][texts == text] for each in schema}, schema, DriftPlan(plans)
            )
            for text in sorted(counts)
        }
        return cls(by, references)


def read_segments(
    view: DatabaseView, table: PredictionTable, segmented: SegmentedReference, whole: PreparedReference, period: Period
) -> tuple[SegmentInputs, ...]:
    """Aggregate the subjects of each value of the column in a period, all in one pass.

    Raises:
        SourceError: there is no such column, or it has too many values.
    """
    counts = view.read(segment_counts(table, period, segmented.by, MOST_SEGMENTS + 1))
    if len(counts) > MOST_SEGMENTS:
        raise table.error(f"--by: more than {MOST_SEGMENTS} values in {period}", segmented.by)
    references = segmented.references
    against = {value: references.get(value, whole) for value, _ in counts}
    names = whole.schema.names
    chosen = selection(table, period, names, extra=[table.text(segmented.by).label(BY)])
    found = part_columns(view, chosen, BY, against, {name: name for name in names})
    return tuple(SegmentInputs(value, references.get(value), columns) for value, columns in found.items())
