"""The traffic of the story: the requests that its acts send, and how strongly they drift."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from cli.demo.story import Act, starts_s
from cli.traffic.plan import Plan, Planned, Profile
from cli.traffic.rows import Rows
from leeway.schema import CHURN_SCHEMA


def strengths(acts: Iterable[Act]) -> list[float]:
    """Every strength of drift that occurs."""
    return sorted({each for act in acts for each in _profile(act).strengths(act.drift)})


def requests(acts: Sequence[Act], rate: float, rows: Rows, user_ids: Sequence[str], seed: int = 7) -> Iterator[Planned]:
    """The requests of all acts in the order in which they are due, `rate` a second on average; the last act goes on."""
    for number, (act, start_s) in enumerate(zip(acts, starts_s(acts), strict=True)):
        plan = Plan(
            rate=rate,
            duration_s=act.lasts_s if number < len(acts) - 1 else None,
            rows=rows,
            schema=CHURN_SCHEMA,
            user_ids=user_ids,
            drift=act.drift,
            concept_drift=act.turned,
            profile=_profile(act),
            seed=seed + number,
        )
        for planned in plan.requests():
            yield replace(planned, due_s=start_s + planned.due_s)


def _profile(act: Act) -> Profile:
    """A ramp is for drift alone: a truth that turns does so at once."""
    return Profile(ramp_s=act.ramp_s if act.drift else 0.0)
