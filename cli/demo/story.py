"""The story: its acts, and how each changes the traffic. Imports nothing heavy, because `leeway --help` reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Final


@dataclass(frozen=True)
class Act:
    """One act. `description` says what happens in it; `lasts_s` is in seconds.

    `drift` and `concept_drift` are strengths, 0…1; covariate drift rises to its strength in `ramp_s` seconds.
    Labels that are held are posted in the next act. `faults` is the body of `PUT /faults` without its seconds, None
    for no faults.
    """

    key: str
    title: str
    description: str
    lasts_s: float
    drift: float = 0.0
    ramp_s: float = 0.0
    concept_drift: float = 0.0
    labels_held: bool = False
    faults: dict[str, Any] | None = None


SLOWNESS: Final = {"slow_scoring": {"milliseconds": 80, "probability": 0.15}}

STORY: Final = (
    Act("calm", "Normal", "Requests look like the training data, and the labels (who left, who stayed) follow.", 9),
    Act(
        "drift", "Inputs drift", "The network gets worse: customers watch less, and stalls and tickets increase.", 10,
        drift=1.0, ramp_s=5,
    ),
    Act("recovered", "Recovered", "The network is repaired: requests look like the training data again.", 9),
    Act("slow", "Slow scoring", "One request in seven takes 80 ms longer in the model. The inputs do not change.",
        8, faults=SLOWNESS),
    Act(
        "green", "All green", "The fault is over. Customers now leave for other reasons, but no labels show it yet.", 8,
        concept_drift=1.0, labels_held=True,
    ),
    Act("labels", "Labels arrive", "Now the labels show who left and who stayed.", 8, concept_drift=1.0),
)  # fmt: skip
LASTS_S: Final = sum(act.lasts_s for act in STORY)
SHORTEST_S: Final[float] = 15
"""Too short for a comparison in each act, long enough for the outcome."""


def story(lasts_s: float = LASTS_S) -> list[Act]:
    """The acts, stretched or compressed to last this long together."""
    factor = lasts_s / LASTS_S
    return [replace(act, lasts_s=factor * act.lasts_s, ramp_s=factor * act.ramp_s) for act in STORY]


def starts_s(acts: Sequence[Act]) -> list[float]:
    """When each act begins, in seconds from the start."""
    return list(accumulate((act.lasts_s for act in acts[:-1]), initial=0.0))
