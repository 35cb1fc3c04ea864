from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from drift.comparison.compare import PreparedReference, WindowColumns
from drift.evaluation import evaluate
from drift.inputs import PAGE_SUBJECTS, ComparisonInputs
from drift.result import Model, Window
from drift.sources.errors import SourceError
from drift.sources.mapping import Mapping
from drift.sources.opening import opened
from drift.sources.periods import parse_days
from drift.sources.reading import Limits
from drift.sources.reference import SourceReference
from drift.sources.table import prediction_table
from drift.sources.window import read_source
from drift.verdicts.confirmation import Policy
from leeway.model.drift_plan import list_values
from leeway.schema import SCORE_COLUMN
from tests.drift.sources import tables
from tests.drift.sources.conftest import LIMITS


def mapping_for(url: str) -> Mapping:
    """The mapping of one of the sources; the times in DuckDB are Berlin's."""
    zone = "Europe/Berlin" if url.startswith("duckdb") else "UTC"
    return replace(tables.MAPPING, time_zone=zone, table="scored" if "://" in url else None)


def november(url: str, reference: SourceReference, limits: Limits = LIMITS) -> ComparisonInputs:
    """The second month of a source against a reference."""
    mapping, days = mapping_for(url), parse_days(tables.CURRENT)
    assert days is not None
    with opened(url) as source:
        return read_source(prediction_table(source, mapping), reference, days.period(mapping.zone), limits)


@pytest.fixture(scope="module")
def inputs(url: str, october: SourceReference) -> ComparisonInputs:
    """The second month of each source."""
    return november(url, october)


def in_memory(made: list[tuple[Any, ...]], reference: PreparedReference, url: str) -> WindowColumns:
    """The last row of each customer, compared without a database."""
    zone = mapping_for(url).zone
    rows = [row for row in made if row[0].astimezone(zone).month == 11]
    last = list({row[2] or row[1]: row for row in sorted(rows, key=lambda row: row[3])}.values())
    baskets = [None if row[8] == '{"basket": {}}' else float(row[8].split(":")[2].rstrip("}")) for row in last]
    given = {"age": 4, "income": 5, "vip": 6, "country": 7, SCORE_COLUMN: 9}
    kinds = {each.name: each.kind for each in reference.schema} | {SCORE_COLUMN: "number"}
    values = {name: list_values([row[place] for row in last], kinds[name]) for name, place in given.items()}
    return WindowColumns.of(values | {"basket": list_values(baskets, "number")}, reference)


def test_each_source_finds_what_all_values_give(
    inputs: ComparisonInputs, made: list[tuple[Any, ...]], october: SourceReference, url: str
) -> None:
    """Distances, shares and constants of PostgreSQL, SQLite, DuckDB and Parquet are those of the rows in memory."""
    expected = in_memory(made, october.reference, url)
    assert inputs.current.subjects == expected.subjects
    assert inputs.current.columns.keys() == expected.columns.keys()
    for name, column in expected.columns.items():
        found = inputs.current.columns[name]
        assert found.distance == pytest.approx(column.distance, rel=1e-9, abs=1e-9), name
        assert (found.missing_share, found.outside_share) == (column.missing_share, column.outside_share), name


def test_a_source_gives_all_that_a_run_needs(inputs: ComparisonInputs, url: str) -> None:
    """Windows in the mapping's zone, model, performance, target and traces; features drift, and RETRAIN follows."""
    offset = "+01:00" if url.startswith("duckdb") else "+00:00"
    start, end = (f"2026-{month}-01T00:00:00{offset}" for month in (11, 12))
    assert inputs.current_window == Window(start, end, 1_200, inputs.current.subjects)
    assert inputs.reference_window.rows == 1_240
    assert inputs.model == Model("shop", "7")
    assert inputs.performance
    assert inputs.performance.labels > 1_000
    assert "roc_auc" in inputs.performance.live
    assert inputs.target.difference == pytest.approx(0.085, abs=0.01)
    assert len(inputs.unusual) == 20
    assert all(int(each.trace_id, 16) % 5 == 1 for each in inputs.unusual)
    result = evaluate(inputs, Policy().at_once(), min_subjects=200).result
    assert {each.feature for each in result.features if each.detected} == {"age", "income"}
    assert result.prediction.detected
    assert result.recommendation == "RETRAIN"


def test_the_page_has_a_sample(sqlite_url: str, october: SourceReference, monkeypatch: pytest.MonkeyPatch) -> None:
    """Evidently's page gets an even sample of the subjects, with scores, while the source is open."""
    monkeypatch.setattr("drift.sources.window.PAGE_SUBJECTS", 100)
    mapping, days = tables.MAPPING, parse_days(tables.CURRENT)
    assert days
    with opened(sqlite_url) as source:
        table = prediction_table(source, mapping)
        found = read_source(table, october, days.period(mapping.zone), LIMITS)
        sample = found.sample()
    assert 50 < sample["age"].size <= 100 < PAGE_SUBJECTS
    assert sample.keys() == {*mapping.features, SCORE_COLUMN}
    assert np.nanmean(sample["age"]) == pytest.approx(53, abs=4)


def test_scores_of_another_version_are_not_compared(sqlite_url: str, october: SourceReference) -> None:
    """They say nothing about the new model."""
    other = SourceReference(october.reference, october.values, october.window, Model("shop", "6"), october.performance)
    found = november(sqlite_url, other)
    assert SCORE_COLUMN not in found.current.columns
    assert found.model.version == "7"


def test_a_condition_chooses_rows(sqlite_url: str, october: SourceReference) -> None:
    """`where` leaves out rows: here those of other countries, so that country itself drifted."""
    days = parse_days(tables.CURRENT)
    assert days
    mapping = replace(tables.MAPPING, where="country LIKE 'f%' AND customer <> ':name'")
    with opened(sqlite_url) as source:
        found = read_source(prediction_table(source, mapping), october, days.period(mapping.zone), LIMITS)
    assert found.current_window.rows
    assert 300 < found.current_window.rows < 500
    single = found.current.columns["country"].single
    assert single
    assert single.now == "fr"


def test_too_many_rows_are_not_read(sqlite_url: str, october: SourceReference) -> None:
    """The message names source, table and what to do."""
    with pytest.raises(SourceError, match=r"shop.db, table scored: more than 1,000 rows in 2026-11-01T.* --max-rows"):
        november(sqlite_url, october, Limits(1_000, 2_000))


def test_a_missing_feature_is_named(sqlite_url: str, october: SourceReference) -> None:
    """A feature of the reference that the mapping does not have."""
    days = parse_days(tables.CURRENT)
    assert days
    mapping = replace(tables.MAPPING, features={"age": "age"})
    with opened(sqlite_url) as source, pytest.raises(SourceError, match="column income: a feature of the reference"):
        read_source(prediction_table(source, mapping), october, days.period(mapping.zone), LIMITS)
