"""Each database's distances equal those of all values in memory, of scipy and of Evidently, within 1e-9."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from drift.aggregates.question import Question
from drift.aggregates.statements import LastRows
from drift.aggregates.window import part_columns, window_columns
from drift.comparison.columns import CurrentColumn, present
from drift.comparison.compare import PreparedReference, WindowColumns
from drift.comparison.evidently import evidently_page
from leeway.data.extract import read_extract
from leeway.model.distances import method_for, spread
from leeway.model.drift_plan import ColumnPlan, DriftPlan, Values, clipped, list_values
from leeway.schema import CHURN_SCHEMA, INT64_MAX, INT64_MIN, Feature, FeatureSchema, Kind
from tests.cli.extracts import real_extracts
from tests.drift.aggregates.stores import CountingSnapshot, Store, opened

ROWS, REFERENCE_ROWS = 3_000, 400
RNG = np.random.default_rng(3)


def gaps(values: list[Any]) -> list[Any]:
    return [None if place % 7 == 0 else value for place, value in enumerate(values)]


def normal(rows: int, mean: float = 10, deviation: float = 3) -> list[float]:
    return [float(value) for value in RNG.normal(mean, deviation, rows)]


def whole(rows: int, low: int, width: int) -> list[int]:
    return [low + place for place in RNG.integers(0, width, rows).tolist()]


def drawn(rows: int, choice: list[Any]) -> list[Any]:
    return [choice[place] for place in RNG.integers(0, len(choice), rows).tolist()]


M, N = REFERENCE_ROWS, ROWS
CASES: Final[dict[str, tuple[Kind, list[Any], list[Any]]]] = {
    "calm": ("number", normal(M), normal(N)),
    "shifted": ("number", normal(M), normal(N, 11, 4)),
    "with gaps": ("number", gaps(normal(M)), gaps(normal(N))),
    "heavy tails": ("number", RNG.standard_cauchy(M).tolist(), RNG.standard_cauchy(N).tolist()),
    "far away": ("number", normal(M), normal(N, 1e6, 1)),
    "two points": ("number", [0.0, 1.0] * (M // 2), RNG.random(N).tolist()),
    "few": ("number", drawn(M, [0.1, 0.2, 0.3, 0.7, 1.1, 1.3, 2.9]), drawn(N, [0.1, 0.3, 5.5])),
    "NaN and infinity": ("number", normal(M), [math.nan, math.inf, -math.inf, *normal(N - 3)]),
    "huge": ("number", normal(M), [1e300, -1e300, 3.4e38, *normal(N - 3)]),
    "huge reference": ("number", (1e300 * RNG.random(M)).tolist(), (1e300 * RNG.random(N)).tolist()),
    "tiny": ("number", (1e-300 * RNG.random(M)).tolist(), (1e-300 * RNG.random(N)).tolist()),
    "a large offset": ("number", [1.7e15 + x for x in whole(M, -3, 4)], [1.7e15 + x for x in whole(N, -3, 5)]),
    "microseconds": ("integer", whole(M, 17 * 10**14, 10**12), whole(N, 17 * 10**14, 2 * 10**12)),
    "counts": ("integer", RNG.poisson(4, M).tolist(), gaps(RNG.poisson(5, N).tolist())),
    "the largest integers": ("integer", whole(M, 0, 50), ([INT64_MAX, INT64_MIN, 3] * N)[:N]),
    "two values": ("integer", whole(M, 0, 2), whole(N, 0, 9)),
    "the same constant": ("number", [5.0] * M, [5.0] * N),
    "another constant": ("integer", [7] * M, [8] * N),
    "no longer constant": ("integer", [7] * M, ([7, 7, None, 9] * N)[:N]),
    "a new constant": ("integer", whole(M, 0, 50), [9999999999999999] * N),
    "huge and constant": ("number", normal(M), [1e300] * N),
    "huge and not constant": ("number", normal(M), ([1e300, 1e301] * N)[:N]),
    "never": ("number", [None] * M, [None] * N),
    "no longer": ("number", normal(M), [None] * N),
    "only now": ("number", [None] * M, gaps(normal(N))),
    "flags": ("flag", drawn(M, [True, False]), gaps(drawn(N, [True, True, False]))),
    "one flag": ("flag", drawn(M, [True, False]), [True] * N),
    "words": ("category", drawn(M, ["a", "B", "ü", "d'e", "None", None]), drawn(N, ["a", "b", "ü", "NaN", " a", None])),
    "empty text": ("category", drawn(M, ["a", "b", ""]), drawn(N, ["a", ""])),
    "only new words": ("category", drawn(M, ["a", "b"]), ["<script>"] * N),
    "many new words": ("category", drawn(M, ["a", "b"]), [f"x{place % 500:03}" for place in range(N)]),
    "no words": ("category", [None] * M, drawn(N, ["a"])),
}
SCHEMA: Final = FeatureSchema(tuple(Feature(name, kind, nullable=True) for name, (kind, _, _) in CASES.items()))


def values_of(side: int) -> dict[str, Values]:
    """One side of each case."""
    return {name: list_values(case[1 + side], case[0]) for name, case in CASES.items()}


def a_reference(schema: FeatureSchema, values: Mapping[str, Values]) -> PreparedReference:
    """A reference, with thresholds that do not matter here."""
    methods = {
        each.name: method_for(each.kind, () if each.kind == "category" else values[each.name]) for each in schema
    }
    plans = {name: ColumnPlan(method, 0.1, 0.0) for name, method in methods.items()}
    return PreparedReference(values, schema, DriftPlan(plans))


REFERENCE: Final = a_reference(SCHEMA, values_of(0))
IN_MEMORY: Final = WindowColumns.of(values_of(1), REFERENCE)


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "duckdb"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Each database."""
    file = tmp_path_factory.mktemp("aggregates") / "window.db"
    with opened(request.param, lambda: request.getfixturevalue("postgresql"), f"sqlite:///{file}") as made:
        yield made


@pytest.fixture(scope="module", params=[100_000, 10], ids=["fetched", "divided"])
def found(store: Store, request: pytest.FixtureRequest) -> WindowColumns:
    """The window aggregated by the database, with open intervals fetched, or divided first."""
    rows = store.fill(SCHEMA, {name: case[2] for name, case in CASES.items()})
    with store.snapshot() as view:
        return window_columns(view, rows, REFERENCE, {name: name for name in SCHEMA.names}, most_values=request.param)


@pytest.mark.parametrize("name", CASES)
def test_a_database_finds_what_all_values_give(found: WindowColumns, name: str) -> None:
    """Distance, missing and outside shares, constants and new categories are those of the values in memory."""
    theirs, ours = found.columns[name], IN_MEMORY.columns[name]
    if ours.distance is None:
        assert theirs.distance is None
    else:
        assert theirs.distance == pytest.approx(ours.distance, rel=1e-9, abs=1e-9)
    others = [each.name for each in fields(CurrentColumn) if each.name not in {"distance", "single"}]
    assert [getattr(theirs, each) for each in others] == [getattr(ours, each) for each in others]
    assert (theirs.single is None) == (ours.single is None)
    if theirs.single and ours.single and name != "a new constant":  # an integer here, a rounded float there
        assert theirs.single == ours.single


@pytest.mark.parametrize("name", CASES)
def test_the_distances_are_those_of_scipy(name: str) -> None:
    """What the databases are compared with equals scipy's distances."""
    before, after = (present(clipped(values_of(side)[name])) for side in (0, 1))
    ours = IN_MEMORY.columns[name].distance
    if not before.size or not after.size:
        assert ours is None
    elif REFERENCE.columns[name].method == "wasserstein":
        assert ours == pytest.approx(wasserstein_distance(before, after) / spread(before), rel=1e-9, abs=1e-9)
    else:
        values = list({*before.tolist(), *after.tolist()})
        shares = [[(side == value).mean() for value in values] for side in (before, after)]
        assert ours == pytest.approx(float(jensenshannon(*shares)), rel=1e-9, abs=1e-9)


def test_the_distances_are_those_of_evidently() -> None:
    """Evidently's scores are the same, for each column that it can measure."""
    scores = evidently_page(REFERENCE, values_of(1), ROWS).scores
    assert len(scores) > len(CASES) / 2
    assert scores == pytest.approx({name: IN_MEMORY.columns[name].distance for name in scores}, rel=1e-9, abs=1e-9)


def test_real_extracts(store: Store) -> None:
    """The second month against the first: each database finds the distances of the values in memory."""
    before, now = (read_extract(real_extracts() / month).columns for month in ("month_000", "month_001"))
    reference = a_reference(
        CHURN_SCHEMA, {each.name: list_values(before[each.name], each.kind) for each in CHURN_SCHEMA}
    )
    in_memory = WindowColumns.of(
        {each.name: list_values(now[each.name], each.kind) for each in CHURN_SCHEMA}, reference
    )
    rows = store.fill(CHURN_SCHEMA, now)
    with store.snapshot() as view:
        found = window_columns(view, rows, reference, {name: name for name in CHURN_SCHEMA.names})
    distances = {name: column.distance for name, column in in_memory.columns.items()}
    assert len(distances) == len(CHURN_SCHEMA)
    assert {name: column.distance for name, column in found.columns.items()} == pytest.approx(distances, abs=1e-9)
    assert found.subjects == in_memory.subjects > 5_000


def test_parts_are_found_in_one_pass(store: Store) -> None:
    """Each part of a window, against its own reference, equals that of its rows in memory; a part may have no rows."""
    schema = FeatureSchema(
        tuple(SCHEMA[name] for name in ("with gaps", "far away", "counts", "flags", "many new words"))
    )
    keys = {name: name for name in schema.names}
    before, now = values_of(0), values_of(1)
    whole, half = (
        PreparedReference({name: before[name][::step] for name in keys}, schema, REFERENCE.plan) for step in (1, 2)
    )
    references = {"a": whole, "ü": half, "nobody": whole}
    rows = store.fill(SCHEMA, {name: case[2] for name, case in CASES.items()})
    with store.snapshot() as view:
        found = part_columns(view, rows, "words", references, keys)
    assert found.keys() == references.keys()
    for text in ("a", "ü"):
        in_memory = WindowColumns.of({name: now[name][now["words"] == text] for name in keys}, references[text])
        assert found[text].subjects == in_memory.subjects > N / 8
        for name in keys:
            theirs, ours = found[text].columns[name], in_memory.columns[name]
            assert theirs.distance == pytest.approx(ours.distance, rel=1e-9, abs=1e-9)
            assert theirs.missing_share == pytest.approx(ours.missing_share)
            assert (theirs.outside_share, theirs.new_categories) == (ours.outside_share, ours.new_categories)
    assert found["nobody"].subjects == 0


def test_few_values_are_kept(store: Store) -> None:
    """At most one a distinct value of the reference and the values of a few intervals, not one a row."""
    rows = 20_000
    schema = FeatureSchema((Feature("fee", "number"),))
    fees = RNG.gamma(2, 1, 500)
    reference = PreparedReference({"fee": fees}, schema, DriftPlan({"fee": ColumnPlan("wasserstein", 0.1, 0.0)}))
    window = RNG.gamma(2, 1.1, rows)
    statement = store.fill(schema, {"fee": window.tolist()})
    with store.snapshot() as view:
        counting = CountingSnapshot(view)
        columns = window_columns(counting, statement, reference, {"fee": "fee"})
    assert columns.columns["fee"].distance == pytest.approx(wasserstein_distance(fees, window) / fees.std(), rel=1e-9)
    assert counting.counting
    assert counting.counting.returned < 500 + 1 + rows / 10


COUNT_IN_DUCKDB: Final = """
import sys, duckdb, sqlalchemy as sa
from drift.aggregates.duckdb import duckdb_snapshot
from drift.aggregates.question import Question
rows = sa.select(*(sa.column(name) for name in "abc")).select_from(
    sa.text("(VALUES (1, true, 'x'), (NULL, NULL, NULL)) AS t(a, b, c)")
)
questions = [Question("a", "integer"), Question("b", "flag", known=(0.0, 1.0)), Question("c", "category", known=("y",))]
with duckdb.connect() as connection, duckdb_snapshot(connection) as view:
    print([answer.values for answer in view.columns(rows).count(questions)], "pandas" in sys.modules)
"""


def test_duckdb_counts_without_pandas() -> None:
    """Numbers, flags and text: pandas would be half of the time of a small window, and 60 MiB."""
    done = subprocess.run([sys.executable, "-c", COUNT_IN_DUCKDB], capture_output=True, text=True, check=True)
    assert done.stdout.split("] ") == ["[1, 1, 1", "False\n"]


EVENTS: Final = [("ann", 3), ("bob", 1), (None, 9), ("ann", 4), ("ann", 1), ("bob", None), (None, 2), ("cid", None)]


@pytest.mark.parametrize("kind", ["integer", "category"], ids=["by a number", "by text"])
def test_only_the_last_row_of_a_subject_counts(store: Store, kind: Kind) -> None:
    """By the order that is given; rows without a subject count each, and one without an order comes first."""
    schema = FeatureSchema((Feature("who", "category"), Feature("turn", kind), Feature("fee", "number")))
    turns = [turn if turn is None or kind == "integer" else str(turn) for _, turn in EVENTS]
    fees = [float(place) for place in range(len(EVENTS))]
    filled = store.fill(schema, {"who": [who for who, _ in EVENTS], "turn": turns, "fee": fees})
    last = LastRows(filled, "who", "turn")
    with store.snapshot() as view:
        (found,) = view.columns(last).count([Question("fee", "number", known=tuple(fees))])
    assert sorted((found.bins.places - 1).tolist()) == [1, 2, 3, 6, 7]
