from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drift.comparison.compare import PreparedReference, WindowColumns
from drift.evaluation import evaluate
from drift.inputs import ComparisonInputs, SegmentInputs
from drift.result import RunResult, Window
from drift.sources.arguments import ReferenceChoice
from drift.sources.errors import SourceError
from drift.sources.opening import opened
from drift.sources.reference import SourceReference, keep_reference, kept_reference
from drift.sources.segments import MOST_SEGMENTS, SegmentedReference
from drift.sources.table import prediction_table
from drift.verdicts.confirmation import Policy
from leeway.model.drift_plan import ColumnPlan, DriftPlan
from leeway.schema import Feature, FeatureSchema
from tests.drift.sources import tables
from tests.drift.sources.conftest import LIMITS
from tests.drift.sources.test_window import november


def judged(inputs: ComparisonInputs) -> RunResult:
    """The result of a single comparison."""
    return evaluate(inputs, Policy().at_once(), min_subjects=100).result


@pytest.fixture(scope="module")
def by_country(october: SourceReference) -> SourceReference:
    """The first month by country."""
    return october.divided("country")


def test_the_segment_that_drifted_is_found(url: str, by_country: SourceReference) -> None:
    """In each source: France acts, with the features that changed there; the others do not, and sizes add up."""
    inputs = november(url, by_country)
    result = judged(inputs)
    assert result.segments
    assert result.segments.by == "country"
    states = {each.value: each.verdict.state for each in result.segments.segments}
    assert states == {"fr": "act", "de": "ok", "it": "ok"}
    worst = result.segments.segments[0]
    assert {each.feature for each in worst.features if each.detected} == {"age", "income"}
    assert worst.share == pytest.approx(2 / 5)
    assert sum(each.subjects for each in result.segments.segments) == inputs.current.subjects


def test_thresholds_know_the_size_and_number_of_segments(by_country: SourceReference) -> None:
    """A smaller segment has a higher threshold than the whole, and its noise constants allow for the other segments."""
    segmented = by_country.segments
    assert segmented
    whole = by_country.reference
    for part in segmented.references.values():
        assert part.threshold("age", 400) > whole.threshold("age", 400)
        assert part.plan.features["age"].noise_constant > whole.plan.features["age"].noise_constant
    assert sum(part.rows for part in segmented.references.values()) == whole.rows


def test_a_column_that_is_not_a_feature_can_divide(sqlite_url: str, tmp_path: Path) -> None:
    """It is kept with the reference."""
    with opened(sqlite_url) as source:
        table = prediction_table(source, tables.MAPPING)
        made = ReferenceChoice(tables.REFERENCE, Path("none"), LIMITS, "outcome").load(table)
    keep_reference(made, tmp_path / "october")
    kept = kept_reference(tmp_path / "october").divided("outcome")
    result = judged(november(sqlite_url, kept))
    assert result.segments
    assert {each.value for each in result.segments.segments} == {"0", "1"}


@pytest.mark.parametrize(
    ("by", "problem"),
    [("nothing", "column nothing: there is no such column or feature"), ("customer", "has 1127 values; at most 50")],
)
def test_what_cannot_divide_is_named(sqlite_url: str, by: str, problem: str) -> None:
    """A column that does not exist, and one with too many values."""
    choice = ReferenceChoice(tables.REFERENCE, Path("none"), LIMITS, by)
    with opened(sqlite_url) as source, pytest.raises(SourceError, match=problem):
        choice.load(prediction_table(source, tables.MAPPING))


def test_a_reference_without_the_column_is_an_error(october: SourceReference) -> None:
    """The message says how to keep it."""
    with pytest.raises(SourceError, match="does not have this column; make it again with --by version"):
        october.divided("version")


SCHEMA = FeatureSchema(tuple(Feature(name, "number") for name in "abcd"))


def inputs_of(shifts: dict[str, dict[str, float]]) -> ComparisonInputs:
    """Four features in segments, some of whose features are shifted; the whole is as in the reference."""
    rng = np.random.default_rng(1)
    plan = DriftPlan({name: ColumnPlan("wasserstein", 0.1, 1.0) for name in SCHEMA.names})

    def values(rows: int) -> dict[str, Any]:
        return {name: rng.normal(0, 1, rows) for name in SCHEMA.names}

    whole = PreparedReference(values(2_000), SCHEMA, plan)
    segments = []
    for value, shifted in shifts.items():
        current = {name: each + shifted.get(name, 0) for name, each in values(500).items()}
        segments.append(SegmentInputs(value, whole, WindowColumns.of(current, whole)))
    return ComparisonInputs(
        whole, WindowColumns.of(values(2_000), whole), dict, Window(), Window(), by="shop", segments=tuple(segments)
    )


def test_a_segment_that_acts_alone_asks_for_investigation() -> None:
    """The verdicts are those of the whole; the reason names the segment."""
    result = judged(inputs_of({"north": {}, "south": {"a": 1, "b": 1}}))
    assert (result.decision, result.recommendation) == ("NO_ACTION", "INVESTIGATE")
    assert result.verdicts["covariate"].state == "ok"
    assert result.reason.startswith("shop south: 2 of 4 features drifted.")


def test_segments_that_do_not_act_change_nothing() -> None:
    """A watch, a value that the reference lacks, and a segment with too few subjects need no action."""
    found = inputs_of({"north": {"a": 0.25}, "new": {}, "few": {}})
    north, new, few = found.segments
    segments = (north, replace(new, reference=None), replace(few, current=replace(few.current, subjects=9)))
    result = judged(replace(found, segments=segments))
    assert result.recommendation == "NO_ACTION"
    assert result.segments
    found_states = [(each.value, each.verdict.state, each.verdict.evidence[:20]) for each in result.segments.segments]
    assert found_states == [
        ("north", "watch", "1 of 4 features drif"),
        ("few", "unknown", "9 subjects are too f"),
        ("new", "unknown", "The reference does n"),
    ]


def test_there_are_at_most_fifty() -> None:
    """More values identify something else."""
    texts = np.array([f"s{place}" for place in range(MOST_SEGMENTS + 1)], dtype=object)
    with pytest.raises(SourceError, match="the reference has 51 values; at most 50 are segments"):
        SegmentedReference.of("shop", texts, {}, SCHEMA, DriftPlan({}))
