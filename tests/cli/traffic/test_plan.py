from __future__ import annotations

import json
import random
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

from cli.traffic.plan import MAX_BATCH, MISTAKES, REQUEST_KINDS, STEPS, Mistake, Plan, PlannedRequest, Profile, bad_body
from cli.traffic.rows import AnsweredRows, DrawnRows, PopulationRows, Rows
from leeway.model.bundle import Bundle
from leeway.schema import CHURN_SCHEMA, FeatureSchema
from tests.fixtures import AWKWARD_SCHEMA

DRIFTS = (0.0, 0.4)
UP = ("rebuffer_events_7d", "skips_7d", "support_tickets_90d", "ticket_avg_resolution_hrs_90d")
DOWN = ("watch_hours_30d", "avg_session_mins_7d")


@pytest.fixture(scope="module")
def rows() -> PopulationRows:
    """Customers without drift, and with a drift of 0.4."""
    return PopulationRows(DRIFTS)


@pytest.fixture(scope="module")
def plan(rows: PopulationRows) -> Plan:
    """A hundred requests a second for thirty seconds."""
    return Plan(rate=100, duration_s=30, rows=rows, schema=CHURN_SCHEMA, user_ids=rows.user_ids)


def dice(seed: int) -> random.Random:
    """A seeded generator."""
    return random.Random(seed)  # noqa: S311 (no secret)


def body(planned: PlannedRequest) -> Any:  # noqa: ANN401 (what JSON holds)
    """A request's body."""
    return json.loads(planned.body)


def means(rows: Rows, drift: float, names: tuple[str, ...]) -> dict[str, float]:
    """The mean of some features over many rows."""
    rng = dice(1)
    drawn = [rows.row(rng, drift) for _ in range(3_000)]
    return {name: float(np.mean([float(row[name] or 0) for row in drawn])) for name in names}


def test_a_seed_decides_everything(plan: Plan) -> None:
    """The same plan sends the same requests at the same times; another seed sends others."""
    once = list(plan.requests())
    assert once == list(plan.requests())
    assert once != list(replace(plan, seed=8).requests())


def test_another_rate_sends_the_same_requests(plan: Plan) -> None:
    """The rate decides when requests are sent, not what they contain."""
    slowly = islice(replace(plan, rate=1, duration_s=None).requests(), 50)
    assert [each.body for each in slowly] == [each.body for each in islice(plan.requests(), 50)]


def test_requests_are_due_at_the_rate(plan: Plan) -> None:
    """In 30 s at 100 a second about 3,000 requests are due, in order, all within the duration."""
    due = [each.due_s for each in plan.requests()]
    assert 2_800 < len(due) < 3_200
    assert due == sorted(due)
    assert due[-1] < 30


def test_requests_are_due_at_random_times(plan: Plan) -> None:
    """The pauses are exponentially distributed: their deviation equals their mean."""
    pauses = np.diff([each.due_s for each in plan.requests()])
    assert np.std(pauses) == pytest.approx(np.mean(pauses), rel=0.1)


def test_the_mix_is_as_given(plan: Plan) -> None:
    """60 % ask for a customer, 30 % give features, 10 % are batches of 2 to 20."""
    planned = list(plan.requests())
    shares = [sum(each.kind == kind for each in planned) / len(planned) for kind in REQUEST_KINDS]
    sizes = {len(body(each)["items"]) for each in planned if each.kind == "batch"}
    assert shares == pytest.approx([0.6, 0.3, 0.1, 0.0], abs=0.03)
    assert (min(sizes), max(sizes)) == (2, MAX_BATCH)


def test_batches_have_their_route(plan: Plan) -> None:
    """Batches go to /predict/batch, all others to /predict."""
    found = {(each.kind, each.path) for each in plan.requests()}
    assert found == {("customer", "/predict"), ("features", "/predict"), ("batch", "/predict/batch")}


def test_without_customers_all_go_by_features(plan: Plan) -> None:
    """Without known ids, features take the place of customers, in batches too."""
    planned = list(islice(replace(plan, user_ids=()).requests(), 300))
    assert {each.kind for each in planned} == {"features", "batch"}
    assert b"user_id" not in b"".join(each.body for each in planned)


def test_drifted_requests_go_by_features(plan: Plan) -> None:
    """Once drift begins, no request has an id, because snapshots do not drift."""
    planned = list(replace(plan, drift=0.4, profile=Profile(after_s=10)).requests())
    assert {each.drift for each in planned if each.due_s < 10} == {0.0}
    assert {each.drift for each in planned if each.due_s >= 10} == {0.4}
    assert not [each for each in planned if each.drift and b"user_id" in each.body]


def test_concept_drift_changes_no_request(plan: Plan) -> None:
    """Concept drift changes labels, not requests."""
    turned = list(replace(plan, concept_drift=1.0, profile=Profile(after_s=10)).requests())
    assert [each.body for each in turned] == [each.body for each in plan.requests()]
    assert {each.concept_drift for each in turned} == {0.0, 1.0}


@pytest.mark.parametrize(
    ("at_s", "step"),
    [(0, 0), (9.9, 0), (10, 1), (14.9, 5), (19.9, STEPS - 1), (20, STEPS), (39.9, STEPS), (40, 0)],
)
def test_a_ramp_rises_and_ends(at_s: float, step: int) -> None:
    """Drift begins at its time, rises in ten steps, stays, and ends at its time."""
    assert Profile(after_s=10, ramp_s=10, lasts_s=30).step(at_s) == step


def test_a_step_is_immediate() -> None:
    """Without a ramp drift is at full strength from the start, and stays."""
    profile = Profile(after_s=10)
    assert (profile.step(9.999), profile.step(10), profile.step(1e6)) == (0, STEPS, STEPS)
    assert profile.strengths(0.4) == [0.0, 0.4]


def test_ramps_use_prepared_strengths_only() -> None:
    """Every strength on a ramp has a prepared population."""
    profile = Profile(ramp_s=10)
    rows = PopulationRows(profile.strengths(0.7))
    plan = Plan(rate=50, duration_s=12, rows=rows, schema=CHURN_SCHEMA, drift=0.7, profile=profile)
    assert {each.drift for each in plan.requests()} == set(profile.strengths(0.7)[1:])


@pytest.mark.parametrize("kind", ["population", "answered"])
def test_drift_changes_the_stated_features(rows: PopulationRows, kind: str) -> None:
    """A worse network: hours and sessions go down, rebuffering, skips, tickets and their time up; nothing else."""
    people = [rows.row(dice(seed), 0.0) for seed in range(2_000)]
    drawn: Rows = rows if kind == "population" else AnsweredRows(people)
    numbers = tuple(each.name for each in CHURN_SCHEMA if each.kind != "category")
    before, after = means(drawn, 0.0, numbers), means(drawn, 0.4, numbers)
    assert {name for name in numbers if after[name] > before[name] * 1.05} == set(UP)
    assert {name for name in numbers if after[name] < before[name] * 0.95} == set(DOWN)


@pytest.mark.parametrize("drift", [0.0, 1.0])
def test_answered_rows_stay_valid(rows: PopulationRows, drift: float) -> None:
    """Drifted rows are still valid."""
    rng = dice(1)
    learned = AnsweredRows([rows.row(rng, 0.0) for _ in range(200)])
    assert [CHURN_SCHEMA.problems(learned.row(rng, drift)) for _ in range(200)] == [{}] * 200


@pytest.mark.parametrize("drift", [0.0, 1.0])
@pytest.mark.parametrize("seen", ["seen", "never seen"])
def test_rows_of_any_schema_are_valid(awkward_bundle: Bundle, drift: float, seen: str) -> None:
    """Rows drawn from a schema's ranges are valid, even if training had no values."""
    schema, rng = awkward_bundle.schema if seen == "seen" else AWKWARD_SCHEMA, dice(1)
    drawn = DrawnRows(schema)
    assert [schema.problems(drawn.row(rng, drift)) for _ in range(200)] == [{}] * 200


def test_drift_of_any_schema_changes_the_stated_features(awkward_bundle: Bundle) -> None:
    """Every second number of another schema goes up, and `moved` names it."""
    drawn = DrawnRows(awkward_bundle.schema)
    numbers = tuple(each.name for each in awkward_bundle.schema if each.kind in {"number", "integer"})
    before, after = means(drawn, 0.0, numbers), means(drawn, 1.0, numbers)
    risen = {name for name in numbers if after[name] - before[name] > 0.1}
    assert risen == set(numbers[::2])
    assert all(name in drawn.moved for name in risen)


def test_bad_input_has_its_share(plan: Plan) -> None:
    """With a share of a fifth, a fifth of the requests is bad."""
    planned = list(replace(plan, bad_share=0.2).requests())
    assert sum(each.kind == "bad" for each in planned) / len(planned) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("of", ["churn", "awkward"])
def test_bad_input_is_bad(mistake: Mistake, of: str, rows: PopulationRows) -> None:
    """Each mistake makes a body that is invalid for any schema."""
    schema: FeatureSchema = CHURN_SCHEMA if of == "churn" else AWKWARD_SCHEMA
    row = rows.row(dice(1), 0.0) if of == "churn" else DrawnRows(schema).row(dice(1), 0.0)
    said = bad_body(mistake, schema, row, dice(1))
    try:
        document = json.loads(said)
    except ValueError:
        return
    assert document.get("user_id") or schema.problems(document["features"])
