"""A period of a source's predictions, against a reference: the inputs of a comparison."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from drift.aggregates.databases import DatabaseView
from drift.aggregates.window import window_columns
from drift.comparison.findings import PerformanceWindow
from drift.inputs import MOST_CANDIDATES, PAGE_SUBJECTS, ComparisonInputs, most_unusual
from drift.result import TargetDifference, Window
from drift.sources.performance import performance_of
from drift.sources.periods import Period
from drift.sources.reading import Facts, Limits, count_subjects, facts_of, labelled_rows, values_of
from drift.sources.reference import SourceReference
from drift.sources.segments import read_segments
from drift.sources.statements import SCORE, selection, traced
from drift.sources.table import PredictionTable
from drift.telemetry.probe import PredictionTrace
from leeway.model.drift_plan import Values
from leeway.model.encoding import Encoder
from leeway.schema import SCORE_COLUMN, FeatureSchema, Value

_TRACE_ID, _SPAN_ID = re.compile(r"(?!0{32})[0-9a-f]{32}"), re.compile(r"(?!0{16})[0-9a-f]{16}")
_IDS: Final = 4  # columns of `traced` before the features


def read_source(table: PredictionTable, reference: SourceReference, period: Period, limits: Limits) -> ComparisonInputs:
    """Aggregate a period of a table against the reference.

    Scores are compared if one version made all predictions of the period and those of the reference, as far as the
    versions are known: after a change of models, the old model's scores say nothing about the new one.

    Raises:
        SourceError: the source cannot be read now, lacks a feature of the reference, or has too many rows.
    """
    _check_features(table, reference.schema)
    with table.snapshot() as view:
        facts = facts_of(view, table, period, limits.max_rows)
        keys = {name: name for name in reference.schema.names}
        if _scores_comparable(table, reference, facts):
            keys[SCORE_COLUMN] = SCORE
        current = window_columns(view, selection(table, period, list(keys)), reference.reference, keys)
        performance = _performance(view, table, reference, period, limits)
        unusual = _unusual(view, table, reference.schema, period)
        segmented = reference.segments
        segments = read_segments(view, table, segmented, reference.reference, period) if segmented else ()

    def sample() -> dict[str, Values]:
        with table.snapshot() as later:
            chosen = selection(table, period, list(keys))
            subjects = count_subjects(later, chosen)
            return values_of(later, table, chosen, list(keys), subjects=subjects, limit=PAGE_SUBJECTS)

    start, end = (None if moment is None else moment.isoformat() for moment in (period.start, period.end))
    return ComparisonInputs(
        reference=reference.reference,
        current=current,
        sample=sample,
        reference_window=reference.window,
        current_window=Window(start, end, facts.rows, current.subjects),
        model=facts.model if facts.rows else reference.model,
        performance=performance,
        target=TargetDifference(performance.target_difference, performance.labels)
        if performance
        else TargetDifference(),
        unusual=unusual,
        by=segmented.by if segmented else None,
        segments=segments,
    )


def _check_features(table: PredictionTable, schema: FeatureSchema) -> None:
    for each in schema:
        found = table.features.get(each.name)
        if found is None:
            raise table.error("a feature of the reference is not among the columns; name it in the mapping", each.name)
        if found.kind != each.kind and not {found.kind, each.kind} <= {"number", "integer"}:
            raise table.error(
                f"feature {each.name!r} is of kind {each.kind} in the reference, and {found.kind} here", found.column
            )


def _scores_comparable(table: PredictionTable, reference: SourceReference, facts: Facts) -> bool:
    versions = {reference.model.version, facts.model.version} - {None}
    has_scores = SCORE_COLUMN in reference.reference.columns and "score" in table.roles
    return has_scores and facts.one_version and len(versions) <= 1


def _performance(
    view: DatabaseView, table: PredictionTable, reference: SourceReference, period: Period, limits: Limits
) -> PerformanceWindow | None:
    """On the labelled predictions of the period, and of the time before it in which labels may still arrive."""
    labels = table.mapping.labels
    if labels is not None and period.start is not None:
        period = replace(period, start=period.start - timedelta(days=labels.delay_days))
    rows = labelled_rows(view, table, period, limits.max_labels)
    return None if rows is None else performance_of(rows, reference.performance)


def _unusual(
    view: DatabaseView, table: PredictionTable, schema: FeatureSchema, period: Period
) -> tuple[PredictionTrace, ...]:
    """The most unusual of the last predictions that have a trace, one per subject."""
    if not {"trace_id", "span_id"} <= table.roles.keys():
        return ()
    place = {name: _IDS + position for position, name in enumerate(table.features)}
    rows: list[Sequence[Any]] = []
    subjects: set[str] = set()
    for row in view.read(traced(table, period, MOST_CANDIDATES)):
        if _TRACE_ID.fullmatch(row[0]) and _SPAN_ID.fullmatch(row[1]) and row[3] not in subjects:
            rows.append(row)
            subjects |= {row[3]} - {None}
    encoder = Encoder(schema)
    encoded = encoder.encode([tuple(_value(row[place[each.name]]) for each in schema) for row in rows])
    counts = [len(names) for names in encoder.unusual(encoded)]
    return tuple(
        PredictionTrace(rows[found][0], rows[found][1], str(rows[found][2] or ""), counts[found])
        for found in most_unusual(encoder, encoded)
    )


def _value(value: Any) -> Value:  # noqa: ANN401 (of any kind)
    return value if value is None or isinstance(value, str) else float(value)
