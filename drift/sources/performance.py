"""How well a model of another service does, by the labels in its table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

from drift.comparison.findings import PerformanceWindow, performance_beside
from leeway.model.answers import Answers
from leeway.model.card import HeldOut
from leeway.model.figures import Figure, figures
from leeway.model.performance import Estimate
from leeway.schema import Target

LabelledRows: TypeAlias = Sequence[tuple[Any, float | None]]
"""Labels (0 or 1) and scores. A label that is neither, and a score that is missing or no probability, do not count."""
_TARGET = Target()


class ReferencePerformance(msgspec.Struct, frozen=True):
    """How well the model did on the labelled rows of a reference, and how their labels were distributed."""

    figures: dict[Figure, Estimate]
    labelled: HeldOut

    @classmethod
    def of(cls, rows: LabelledRows) -> ReferencePerformance:
        """Measured on these rows."""
        labels, answers = _usable(rows)
        return cls(figures(_TARGET, labels, answers), HeldOut.of(_TARGET, len(labels), labels or None))


def performance_of(rows: LabelledRows, reference: ReferencePerformance | None) -> PerformanceWindow:
    """Estimate performance on these rows, beside that on the reference's."""
    before = reference or ReferencePerformance({}, HeldOut(0))
    return performance_beside(*_usable(rows), _TARGET, before.figures, before.labelled)


def _usable(rows: LabelledRows) -> tuple[list[int], Answers]:
    pairs = [
        (int(label), float(score)) for label, score in rows if label in (0, 1) and score is not None and 0 <= score <= 1
    ]
    scores = [score for _, score in pairs]
    return [label for label, _ in pairs], Answers(scores, scores)
