"""The story: its acts, and what each does to the traffic. Imports nothing, so that `leeway --help` may read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any, Final, Literal

Labels = Literal["soon", "held", "told"]
"""What becomes of the truth: known soon after each answer; kept back; or known, those kept back included."""


@dataclass(frozen=True)
class Act:
    """One act. `told` is what is done in it; `lasts_s` is in seconds.

    `drift` and `turned` are the strengths of covariate and concept drift, 0…1; drift rises to it in `ramp_s` seconds.
    `faults` is what `PUT /faults` takes but for its seconds, None where nothing is made to fail.
    """

    key: str
    title: str
    told: str
    lasts_s: float
    drift: float = 0.0
    ramp_s: float = 0.0
    turned: float = 0.0
    labels: Labels = "soon"
    faults: dict[str, Any] | None = None


SLOWNESS: Final = {"slow_scoring": {"milliseconds": 80, "probability": 0.15}}

STORY: Final = (
    Act("calm", "Calm", "Requests come as in training, and labels follow: who left, who stayed.", 9),
    Act(
        "drift", "Inputs drift", "The network grows worse: customers watch less, stalls and tickets pile up.", 10,
        drift=1.0, ramp_s=5,
    ),
    Act("mended", "Mended", "The network is mended: requests are again as in training.", 9),
    Act("slow", "Scoring slows", "One request in seven waits 80 ms in the model. The inputs stay as they were.", 8,
        faults=SLOWNESS),
    Act(
        "green", "All green", "The fault is gone. Why customers leave has changed, and nobody can see that yet.", 8,
        turned=1.0, labels="held",
    ),
    Act("labels", "Labels arrive", "Now it is known who left, and who stayed.", 8, turned=1.0, labels="told"),
)  # fmt: skip
LASTS_S: Final = sum(act.lasts_s for act in STORY)
SHORTEST_S: Final[float] = 15
"""Too short for a comparison in each act, long enough for the end."""


def story(lasts_s: float = LASTS_S) -> list[Act]:
    """The acts, stretched or squeezed so that all together last so many seconds."""
    factor = lasts_s / LASTS_S
    return [replace(act, lasts_s=factor * act.lasts_s, ramp_s=factor * act.ramp_s) for act in STORY]


def starts_s(acts: Sequence[Act]) -> list[float]:
    """When each act begins, in seconds from the start."""
    return list(accumulate((act.lasts_s for act in acts[:-1]), initial=0.0))
