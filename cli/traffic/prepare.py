"""Meets the service, and decides from what is asked for which requests are sent."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from rich.console import Console

from cli.http import HttpClient, Target
from cli.options import stop
from cli.traffic.plan import Plan, Profile
from cli.traffic.rows import AnsweredRows, DrawnRows, PopulationRows, Rows
from cli.traffic.service import (
    ASKED_FOR,
    LEARNED_FROM,
    Served,
    TrafficError,
    features_of,
    read_users,
    sample,
    served,
)
from cli.traffic.truth import ModelTruth, PopulationTruth, Truth
from leeway.schema import CHURN_SCHEMA

ENDLESS_DRIFT_AFTER_S = 60.0


@dataclass(frozen=True)
class Wanted:
    """What is asked for; `leeway traffic --help` says what each means. Durations in seconds, shares 0…1."""

    rate: float
    duration_s: float
    mix: tuple[float, float, float]
    drift: float
    concept_drift: float
    drift_after_s: float | None
    drift_ramp_s: float
    drift_for_s: float | None
    bad_share: float
    labels: bool
    label_delay_s: float
    users: Path | None
    seed: int
    max_errors: int
    max_in_flight: int
    timeout_s: float
    wait_s: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(each) for each in (*astuple(self), *self.mix) if isinstance(each, float)):
            stop("leeway traffic takes finite numbers only: --duration 0 goes on without end")

    @property
    def profile(self) -> Profile:
        """When it drifts: unless told otherwise after a third of the duration."""
        usual_s = self.duration_s / 3 if self.duration_s else ENDLESS_DRIFT_AFTER_S
        after_s = usual_s if self.drift_after_s is None else self.drift_after_s
        return Profile(after_s, self.drift_ramp_s, self.drift_for_s)


@dataclass(frozen=True)
class Prepared:
    """What is sent, and what is true of it."""

    plan: Plan
    truth: Truth


async def prepare(out: Console, client: HttpClient, wanted: Wanted) -> Prepared:
    """Meet the service, and decide what is sent."""
    named = None if wanted.users is None else read_users(wanted.users)
    model = await served(client, wanted.wait_s, lambda text: out.print(text, markup=False, highlight=False))
    rows, user_ids, truth = await _customers(out, client, model, wanted, named)
    plan = Plan(
        rate=wanted.rate,
        duration_s=wanted.duration_s or None,
        rows=rows,
        schema=model.schema,
        user_ids=user_ids,
        mix=wanted.mix,
        bad_share=wanted.bad_share,
        drift=wanted.drift,
        concept_drift=wanted.concept_drift,
        profile=wanted.profile,
        seed=wanted.seed,
    )
    for line in _announced(client.target, model, plan):
        out.print(line, markup=False, highlight=False)
    return Prepared(plan, truth)


async def _customers(
    out: Console, client: HttpClient, model: Served, wanted: Wanted, named: Sequence[str] | None
) -> tuple[Rows, Sequence[str], Truth]:
    """Who is asked for: those who were `named`, or the built-in population, or rows of the schema."""
    if named is not None:
        rows = await features_of(client, sample(named, LEARNED_FROM, wanted.seed))
        if not rows:
            raise TrafficError(f"the service knows none of the customers in {wanted.users}: ingest them first")
        return AnsweredRows(rows), named, ModelTruth(model.positive_share)
    if model.schema.fingerprint != CHURN_SCHEMA.fingerprint:
        return DrawnRows(model.schema), (), ModelTruth(model.positive_share)
    people = PopulationRows(wanted.profile.strengths(wanted.drift))
    asked = sample(people.user_ids, ASKED_FOR, wanted.seed)
    known = len(await features_of(client, asked))
    if known < len(asked):
        hint = "name those it knows with --users FILE"
        what = "all requests go by features" if not known else "the others will answer 404"
        out.print(f"The service knows {known} of {len(asked)} customers tried: {what}; {hint}.", highlight=False)
    return people, people.user_ids if known else (), PopulationTruth()


def _announced(target: Target, model: Served, plan: Plan) -> Iterator[str]:
    length = "until Ctrl-C" if plan.duration_s is None else f"for {plan.duration_s:g} s"
    yield f"{target.url} serves {model.name} {model.version}: {plan.rate:g} requests/s {length}."
    yield f"Features come from {plan.rows.origin}."
    if plan.drift or plan.concept_drift:
        how = f"within {plan.profile.ramp_s:g} s" if plan.profile.ramp_s else "at once"
        end = "" if plan.profile.lasts_s is None else f" for {plan.profile.lasts_s:g} s"
        begins = f"after {plan.profile.after_s:.1f} s, {how}{end}"
        if plan.drift:
            yield f"Drift to {plan.drift:g} {begins}: {plan.rows.moved}. Requests then go by features."
        if plan.concept_drift:
            yield f"Concept drift to {plan.concept_drift:g} {begins}: only labels tell."


def weights(text: str) -> tuple[float, float, float]:
    """Read `60/30/10`; what cannot be read ends the command."""
    try:
        by_id, by_features, batches = (float(part) for part in text.split("/"))
    except ValueError:
        stop(f"--mix {text!r}: give three weights, by user_id, by features and batches, like 60/30/10")
    found = (by_id, by_features, batches)
    if min(found) < 0 or sum(found) == 0:
        stop(f"--mix {text!r}: weights must not be negative, and not all of them 0")
    return found
