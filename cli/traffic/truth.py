"""What turns out to be true of a prediction, as far as the traffic can know it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from leeway.data.churn_risk import SERVICES, chance_of_leaving
from leeway.schema import CHURN_SCHEMA, Feature, Value


@dataclass(frozen=True)
class Answered:
    """A prediction whose truth is to come. `turned` is the strength of concept drift, 0…1, when it was asked for."""

    prediction_id: str
    features: Mapping[str, Value]
    probability: float
    turned: float


class Truth(Protocol):
    """Knows how likely the positive label is."""

    @property
    def origin(self) -> str:
        """Where the labels come from, in words."""
        ...

    def chances(self, answers: Sequence[Answered]) -> NDArray[np.float64]:
        """The chance of a positive label, 0…1, for each; shape (n,)."""
        ...


class PopulationTruth:
    """The built-in population's own rule of who leaves, and how concept drift turns it."""

    origin = "the built-in population's rule of who leaves"

    def chances(self, answers: Sequence[Answered]) -> NDArray[np.float64]:
        """See `Truth`."""
        found = np.empty(len(answers))
        strengths = np.array([each.turned for each in answers])
        for strength in np.unique(strengths):
            places = np.flatnonzero(strengths == strength)
            values = {
                feature.name: np.array([_as_number(feature, answers[int(place)].features) for place in places])
                for feature in CHURN_SCHEMA
            }
            found[places] = chance_of_leaving(values, float(strength))
        return found


def _as_number(feature: Feature, row: Mapping[str, Any]) -> float:
    """A value as `leeway.data.population` counts: flags 0 or 1, categories by place, missing 0."""
    value = row[feature.name]
    if feature.kind == "category":
        return float(SERVICES.index(value)) if value in SERVICES else 0.0
    return float(value or 0.0)


class ModelTruth:
    """Where the truth is not known: labels drawn by the model's own probability. Concept drift makes them a coin's.

    `positive_share` is the coin's chance, 0…1.
    """

    origin = "the model's own probabilities, for the truth about these customers is not known here"

    def __init__(self, positive_share: float) -> None:
        self._positive_share = positive_share

    def chances(self, answers: Sequence[Answered]) -> NDArray[np.float64]:
        """See `Truth`."""
        said = np.array([each.probability for each in answers])
        turned = np.array([each.turned for each in answers])
        return np.asarray((1 - turned) * said + turned * self._positive_share)


def labels(truth: Truth, answers: Sequence[Answered], seed: int) -> list[int]:
    """1 or 0 for each. The same features have the same fate, however often they are asked for."""
    lots = np.array([_lot(each.features, seed) for each in answers])
    return [int(label) for label in lots < truth.chances(answers)]


def _lot(features: Mapping[str, Value], seed: int) -> float:
    """An even number from 0 to 1 that hangs on the features and the seed alone."""
    key = f"{seed}{sorted(features.items())}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=7).digest(), "big") / 2**56
