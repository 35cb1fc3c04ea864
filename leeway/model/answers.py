"""What a model answers: from its outputs to scores, predictions and probabilities, by the task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from leeway.schema import Label, Target


@dataclass(frozen=True)
class Answers:
    """n answers. `scores` are probabilities of the positive class, those of the predicted class, or predicted numbers.

    `predictions` are classes or numbers. `probabilities` has a row of the probabilities of all classes for each answer
    of a multiclass model; it is None for other tasks, and where they are unknown.
    """

    scores: Sequence[float]
    predictions: Sequence[Label]
    probabilities: Sequence[tuple[float, ...]] | None = None

    @classmethod
    def of(cls, target: Target, outputs: NDArray[np.float64], threshold: float) -> Answers:
        """From the outputs of a model, see `leeway.model.bundle.Scorer`.

        The positive class is predicted from `threshold` on; of several classes that with the greatest probability, the
        first of them if there is a tie.

        >>> target = Target("plan", "multiclass", ("basic", "gold", "none"), positive=None)
        >>> Answers.of(target, np.array([[0.2, 0.7, 0.1]]), 0.5)
        Answers(scores=[0.7], predictions=['gold'], probabilities=[(0.2, 0.7, 0.1)])
        """
        if target.task == "regression":
            numbers = outputs.tolist()
            return cls(numbers, numbers)
        if target.task == "multiclass":
            classes = target.classes
            predictions = [classes[place] for place in outputs.argmax(axis=1).tolist()]
            return cls(outputs.max(axis=1).tolist(), predictions, list(map(tuple, outputs.tolist())))
        scores = outputs.tolist()
        negative, positive = target.negative_and_positive
        return cls(scores, [positive if score >= threshold else negative for score in scores])
