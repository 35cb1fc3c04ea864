"""The true labels of answered predictions: what they are, as far as traffic can know, and posting them later."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Any, Final, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from cli.http import ACCEPTED
from cli.traffic.probe import TrafficProbe
from cli.traffic.tally import Tally
from cli.traffic.transport import LoadClient
from leeway.data.churn_risk import SERVICES, chance_of_leaving
from leeway.model.card import Card
from leeway.schema import CHURN_SCHEMA, Feature, Label, Value, class_name

FEEDBACK = "/feedback"
LABELS_PER_REQUEST = 200
"""Few enough that drawing them delays no request."""
EVERY_S = 0.5
REST_S = 3.0
MAX_WAITING = 50_000
_TINY: Final = 2.0**-52
Floats: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Answered:
    """A prediction that waits for its label. `concept_drift` is its strength, 0…1, when the request was sent.

    `probabilities` are those of the classes that the answer names, by their names, or that of the positive class.
    """

    prediction_id: str
    features: Mapping[str, Value]
    prediction: Label
    probabilities: Mapping[str, float] | float | None
    concept_drift: float

    @classmethod
    def read(cls, answer: Mapping[str, Any], concept_drift: float) -> Answered:
        """From the service's answer to one request.

        Raises:
            KeyError, TypeError, ValueError: it is not an answer with a prediction.
        """
        found = answer.get("probability", answer.get("probabilities"))
        if isinstance(found, Mapping):
            found = {str(name): float(share) for name, share in found.items()}
        probabilities = float(found) if isinstance(found, int | float) else found
        return cls(
            str(answer["prediction_id"]),
            dict(answer["features_used"]),
            answer["prediction"],
            probabilities,
            concept_drift,
        )


class Truth(Protocol):
    """Knows the labels; `origin` says where they come from, for people."""

    origin: str

    def labels(self, answers: Sequence[Answered], draws: Floats) -> list[Label]:
        """The label of each answer, by a number from 0 to 1 that is drawn for it; shape (n,)."""


class PopulationTruth:
    """The built-in population's own rule for who leaves, and how concept drift changes it."""

    origin = "the built-in population's rule for who leaves"

    def labels(self, answers: Sequence[Answered], draws: Floats) -> list[Label]:
        """See `Truth`."""
        return [int(label) for label in draws < self.chances(answers)]

    def chances(self, answers: Sequence[Answered]) -> Floats:
        """The chance of a positive label, 0…1, for each answer; shape (n,)."""
        found = np.empty(len(answers))
        strengths = np.array([each.concept_drift for each in answers])
        for strength in np.unique(strengths):
            places = np.flatnonzero(strengths == strength)
            values = {
                feature.name: np.array([_as_number(feature, answers[int(place)].features) for place in places])
                for feature in CHURN_SCHEMA
            }
            found[places] = chance_of_leaving(values, float(strength))
        return found


def _as_number(feature: Feature, row: Mapping[str, Any]) -> float:
    """A value as `leeway.data.population` has it: flags are 0 or 1, categories their position, missing values 0."""
    value = row[feature.name]
    if feature.kind == "category":
        return float(SERVICES.index(value)) if value in SERVICES else 0.0
    return float(value or 0.0)


class ModelTruth:
    """Labels drawn from the answers of the model of `card`, where the truth is unknown.

    A class is drawn by the model's probabilities. A number is the predicted one and an error, normally distributed with
    the RMSE on the card. Concept drift of strength d makes that share of the labels random: drawn from the labels on
    the card, whatever the model says.
    """

    origin = "the model's own answers, because the true labels of these customers are unknown here"

    def __init__(self, card: Card) -> None:
        self._target = card.target
        self._usual_shares = card.held_out.label_shares or dict.fromkeys(
            card.target.class_names, 1 / max(1, len(card.target.classes))
        )
        self._usual_numbers = card.held_out.label_distribution or card.score_reference.positions
        self._error = NormalDist(0, card.figures["rmse"].value) if "rmse" in card.figures else None

    def labels(self, answers: Sequence[Answered], draws: Floats) -> list[Label]:
        """See `Truth`."""
        label = self._number if self._target.task == "regression" else self._class
        return [label(answer, draw) for answer, draw in zip(answers, draws.tolist(), strict=True)]

    def _class(self, answer: Answered, draw: float) -> Label:
        shares, target = answer.probabilities, self._target
        if not isinstance(shares, Mapping):
            positive = class_name(target.negative_and_positive[1])
            share = 0.0 if shares is None else shares
            shares = {name: share if name == positive else 1 - share for name in target.class_names}
        drift, reached = answer.concept_drift, 0.0
        for label, name in reversed(list(zip(target.classes, target.class_names, strict=True))):
            reached += (1 - drift) * shares[name] + drift * self._usual_shares[name]
            if draw < reached:
                return label
        return target.classes[0]

    def _number(self, answer: Answered, draw: float) -> Label:
        drift = answer.concept_drift
        if draw < drift and self._usual_numbers is not None:
            return self._usual_numbers.quantile(draw / drift)
        within = (draw - drift) / (1 - drift) if drift < 1 else draw
        error = self._error.inv_cdf(min(max(within, _TINY), 1 - _TINY)) if self._error else 0.0
        return float(answer.prediction) + error


def labels(truth: Truth, answers: Sequence[Answered], seed: int) -> list[Label]:
    """The label of each. The same features always get the same draw."""
    return truth.labels(answers, np.array([_draw(each.features, seed) for each in answers]))


def _draw(features: Mapping[str, Value], seed: int) -> float:
    """A number from 0 to 1, evenly distributed, that depends on the features and the seed alone."""
    key = f"{seed}{sorted(features.items())}".encode()
    return int.from_bytes(hashlib.blake2b(key, digest_size=7).digest(), "big") / 2**56


@dataclass
class Labeller:
    """Keeps answered predictions and posts their labels `delay_s` seconds later.

    At most `MAX_WAITING` wait; beyond that the oldest get no label, and are counted.
    """

    client: LoadClient
    probe: TrafficProbe
    tally: Tally
    truth: Truth
    delay_s: float
    seed: int
    _waiting: deque[tuple[float, Answered]] = field(default_factory=deque)
    _held_after_s: float = math.inf

    def expect(self, answered: Answered) -> None:
        """A prediction was answered: its label follows."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self.tally.label_errors["too many waiting"] += 1
        self._waiting.append((_now_s() + self.delay_s, answered))

    def hold(self) -> None:
        """Keep the labels of predictions answered from now on until `release`."""
        self._held_after_s = _now_s() + self.delay_s

    def release(self) -> None:
        """Post labels when they are due again, including those held."""
        self._held_after_s = math.inf

    async def run(self, stop: asyncio.Event) -> None:
        """Post due labels regularly until `stop` is set."""
        while not stop.is_set():
            await asyncio.sleep(EVERY_S)
            await self._post_where(lambda due_s: due_s <= min(_now_s(), self._held_after_s))

    async def post_rest(self) -> None:
        """Post all waiting labels, due or not, at the end of the run; give up after `REST_S`."""
        try:
            async with asyncio.timeout(REST_S):
                await self._post_where(lambda _: True)
        except TimeoutError:
            self.tally.label_errors["no time left"] += len(self._waiting)

    async def _post_where(self, due: Callable[[float], bool]) -> None:
        while self._waiting and due(self._waiting[0][0]):
            answers: list[Answered] = []
            while self._waiting and len(answers) < LABELS_PER_REQUEST and due(self._waiting[0][0]):
                answers.append(self._waiting.popleft()[1])
            await self._post(answers)

    async def _post(self, answers: list[Answered]) -> None:
        """Post some labels; they are not sent again if that fails."""
        found = zip(answers, labels(self.truth, answers, self.seed), strict=True)
        items = [{"prediction_id": each.prediction_id, "label": label} for each, label in found]
        request = self.probe.sends(FEEDBACK, "labels", 0.0)
        try:
            reply = await self.client.post(FEEDBACK, msgspec.json.encode({"items": items}), request.headers)
        except OSError as error:  # TimeoutError is one
            request.failed(error)
            self.tally.label_errors[type(error).__name__] += len(answers)
            return
        request.answered(reply.status)
        if reply.status == ACCEPTED:
            self.tally.labels += len(answers)
        else:
            self.tally.label_errors[f"HTTP {reply.status}"] += len(answers)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
