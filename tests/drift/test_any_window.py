"""A window may hold anything: a comparison ends with a result, or with a reasoned UNKNOWN, and never with an error."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drift.comparison.evidently import evidently_page
from drift.evaluation import Evaluation, MakePage, evaluate
from drift.result import read_result
from drift.verdicts.confirmation import Policy
from leeway.data.tabular import typed_frame
from leeway.model.drift_plan import DriftPlan
from leeway.schema import INT64_MAX, INT64_MIN, Feature, FeatureSchema, Kind, Value
from tests.drift.comparisons import inputs_of, prepared

ROWS, REFERENCE_ROWS = 200, 500
Draw = Callable[[np.random.Generator, int], list[Any]]
FEATURES: Final[dict[str, tuple[Kind, Draw]]] = {
    "amount": ("number", lambda rng, rows: rng.normal(10, 3, rows).tolist()),
    "huge": ("number", lambda rng, rows: (1e300 * rng.random(rows)).tolist()),
    "tiny": ("number", lambda rng, rows: (1e-300 * rng.random(rows)).tolist()),
    "seven": ("number", lambda _rng, rows: [7.0] * rows),
    "count": ("integer", lambda rng, rows: rng.integers(0, 50, rows).tolist()),
    "few": ("integer", lambda rng, rows: rng.integers(0, 3, rows).tolist()),
    "microseconds": ("integer", lambda rng, rows: (1_700_000_000_000_000 + rng.integers(0, 10**12, rows)).tolist()),
    "always_7": ("integer", lambda _rng, rows: [7] * rows),
    "flag": ("flag", lambda rng, rows: (rng.random(rows) < 0.4).tolist()),
    "on": ("flag", lambda _rng, rows: [True] * rows),
    "kind": ("category", lambda rng, rows: rng.choice(["a", "b", "c"], rows).tolist()),
    "only_a": ("category", lambda _rng, rows: ["a"] * rows),
    "gaps": ("number", lambda rng, rows: [None if hole else 1.5 * hole for hole in rng.random(rows) < 0.5]),
    "never": ("number", lambda _rng, rows: [None] * rows),
    "no_text": ("category", lambda _rng, rows: [None] * rows),
}
SCHEMA: Final = FeatureSchema(tuple(Feature(name, kind, nullable=True) for name, (kind, _) in FEATURES.items()))
STRANGE: Final[dict[Kind, list[Value]]] = {
    "number": [0.0, 8.0, 9999999999999999.0, 1e300, -1e300, 1e-320],
    "integer": [0, 8, 1_700_000_000_000_000, INT64_MAX, INT64_MIN],
    "flag": [True, False],
    "category": ["a", "new", "<b>", "x" * 200],
}


def rows_of(seed: int, rows: int) -> dict[str, list[Any]]:
    """Columns like the reference's."""
    rng = np.random.default_rng(seed)
    return {name: draw(rng, rows) for name, (_, draw) in FEATURES.items()}


REFERENCE: Final = typed_frame(SCHEMA, rows_of(0, REFERENCE_ROWS))


@cache
def reference_plan() -> DriftPlan:
    """The plan of `REFERENCE`."""
    return DriftPlan.from_reference(SCHEMA, REFERENCE)


def evaluated(
    schema: FeatureSchema, current: pd.DataFrame, make_page: MakePage | None = None, min_subjects: int = 100
) -> Evaluation:
    """Compare the frame with the reference; features named `count: 0` have the reference of `count`."""
    reference = REFERENCE if schema is SCHEMA else REFERENCE[[base(name) for name in schema.names]]
    plan = DriftPlan({name: reference_plan().features[base(name)] for name in schema.names})
    inputs = inputs_of(prepared(reference.set_axis(list(schema.names), axis=1), schema, plan), current)
    return evaluate(inputs, Policy().at_once(), min_subjects=min_subjects, make_page=make_page)


def base(name: str) -> str:
    """The feature of `FEATURES` that another is like."""
    return name.partition(" ")[0]


def values_for(kind: Kind) -> st.SearchStrategy[list[Value]]:
    """A window's values: one throughout, entirely missing, or a mixture of strange, new, missing and ordinary ones."""
    new: dict[Kind, st.SearchStrategy[Any]] = {
        "number": st.floats(allow_nan=False, allow_infinity=False),
        "integer": st.integers(INT64_MIN, INT64_MAX),
        "flag": st.booleans(),
        "category": st.text("ab<&\xa0\u200b7", min_size=1, max_size=5),
    }
    value = st.one_of(st.sampled_from(STRANGE[kind]), new[kind], st.none())
    return st.lists(value, min_size=1, max_size=6)


@settings(max_examples=40, derandomize=True, deadline=None, database=None)
@given(
    rows=st.sampled_from([0, 1, 19, ROWS]),
    strange=st.fixed_dictionaries({}, optional={name: values_for(kind) for name, (kind, _) in FEATURES.items()}),
)
def test_any_window_has_a_result_or_a_reason(rows: int, strange: dict[str, list[Value]]) -> None:
    """Whatever values the features have: finite figures and verdicts with evidence, or UNKNOWN with the reason."""
    columns = rows_of(1, rows) | {name: list(islice(values * ROWS, rows)) for name, values in strange.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = evaluated(SCHEMA, typed_frame(SCHEMA, columns), min_subjects=19).result
    assert read_result(result.to_file()) == result
    assert all(verdict.evidence for verdict in result.verdicts.values())
    if rows < 19:
        assert (result.recommendation, "too few" in result.reason) == ("UNKNOWN", True)
    else:
        assert len(result.features) == len(FEATURES)
        assert all(each.score is None or math.isfinite(each.score) for each in result.features)


def one_value_each() -> dict[str, tuple[Kind, list[Value]]]:
    """A feature for each strange value, which it has throughout; entirely missing; and with all of them."""
    found: dict[str, tuple[Kind, list[Value]]] = {}
    for name in ("amount", "tiny", "count", "microseconds", "kind", "never"):
        kind = FEATURES[name][0]
        values: list[Value] = [*STRANGE[kind], None]
        found |= {f"{name} is {place}": (kind, [value] * ROWS) for place, value in enumerate(values)}
        found[f"{name} is mixed"] = (kind, (values * ROWS)[:ROWS])
    return found


@pytest.fixture(scope="module")
def strange() -> Evaluation:
    """Evidently's comparison of a window in which every feature has one strange value throughout."""
    columns = one_value_each()
    schema = FeatureSchema(tuple(Feature(name, kind, nullable=True) for name, (kind, _) in columns.items()))
    current = typed_frame(schema, {name: values for name, (_, values) in columns.items()})
    return evaluated(schema, current, evidently_page)


def test_evidently_compares_any_single_value(strange: Evaluation) -> None:
    """No feature is without a score but those that have no value on a side: one hides no other."""
    unmeasured = {each.feature for each in strange.result.features if each.score is None}
    assert unmeasured == {
        name for name, (_, values) in one_value_each().items() if base(name) == "never" or set(values) == {None}
    }


def test_evidently_leaves_out_only_what_it_cannot_draw(strange: Evaluation, tmp_path: Path) -> None:
    """The page and the JSON are written, with the features that Evidently can draw."""
    page = strange.page
    assert page is not None
    page.write_html(tmp_path / "report.html")
    page.write_json(tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text(encoding="utf-8")
    assert "amount is 0" in text
    assert "amount is 2" not in text  # 9999999999999999
