"""One column of the reference and of a window: its values, missing values and new values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from drift.comparison.findings import SingleValue
from leeway.model.distances import Method, jensenshannon_of_counts, wasserstein_normed
from leeway.model.drift_plan import Values, clipped
from leeway.model.encoding import USUAL_QUANTILES
from leeway.schema import Kind

NAMED_CATEGORIES: Final = 20
_HARMLESS: Final = str.maketrans("<>", "‹›")


@dataclass(frozen=True)
class ReferenceColumn:
    """One feature in the reference; `low` and `high` are None for a category.

    `entries` are clipped to the range of 32-bit floats, `counts` are their distinct values with their numbers. `known`
    are these values and the schema's categories: the model was trained on them. `single` is the only value, as text.
    """

    name: str
    kind: Kind
    method: Method
    entries: Values
    missing_share: float
    counts: Mapping[Any, int]
    known: frozenset[Any]
    low: float | None
    high: float | None
    single: str | None

    @classmethod
    def of(cls, name: str, kind: Kind, method: Method, values: Values, seen: Iterable[str] = ()) -> ReferenceColumn:
        """From the values of the reference; `seen` are the schema's categories."""
        entries = clipped(values)
        there = present(entries)
        counts = counted(there)
        low, high = np.quantile(there, USUAL_QUANTILES).tolist() if kind != "category" and there.size else (None, None)
        missing_share = 1 - there.size / max(1, values.size)
        known = frozenset(counts) | frozenset(seen)
        single = only_value(values, kind)
        return cls(name, kind, method, entries, missing_share, counts, known, low, high, single)

    def distance_to(self, counts: Mapping[Any, int], others: int = 0) -> float | None:
        """The Jensen–Shannon distance of a window's counts; `others` are values that the reference does not have.

        None if a side has no values.
        """
        return jensenshannon_of_counts(self.counts, counts, others) if self.counts and (counts or others) else None


@dataclass(frozen=True)
class CurrentColumn:
    """One feature in a window, against the reference (see `drift.result.FeatureDrift`).

    `distance` is None if one side has no values.
    """

    distance: float | None
    missing_share: float
    constant: bool
    outside_share: float
    new_categories: tuple[str, ...]
    single: SingleValue | None

    @classmethod
    def of(cls, values: Values, reference: ReferenceColumn) -> CurrentColumn:
        """From the values of a window."""
        there = present(clipped(values))
        counts = counted(there)
        unseen = Counter({value: count for value, count in counts.items() if value not in reference.known})
        if reference.low is not None and reference.high is not None:
            outside = int(((there < reference.low) | (there > reference.high)).sum())
        else:
            outside = unseen.total()
        if reference.method == "jensenshannon":
            distance = reference.distance_to(counts)
        else:
            distance = wasserstein_normed(reference.entries, there) if reference.counts and there.size else None
        constant = len(counts) <= 1 and counts.keys() == reference.counts.keys()
        single = single_value(reference, only_value(values, reference.kind), next(iter(counts), None))
        return cls(
            distance,
            1 - there.size / max(1, values.size),
            constant=constant,
            outside_share=outside / max(1, there.size),
            new_categories=most_frequent(unseen) if reference.kind == "category" else (),
            single=None if constant or not counts else single,
        )


def only_value(values: Values, kind: Kind) -> str | None:
    """The only value as text, as it was given and not clipped; None if there are more, or none."""
    found = counted(present(values))
    return value_text(next(iter(found)), kind) if len(found) == 1 else None


def single_value(reference: ReferenceColumn, now: str | None, value: Any) -> SingleValue | None:  # noqa: ANN401 (of any kind)
    """What is known of a feature with one value throughout a window: `value` is it, and `now` its text."""
    if now is None:
        return None if reference.single is None else SingleValue(reference.single, None, 0.0)
    share = reference.counts.get(value, 0) / max(1, sum(reference.counts.values()))
    return SingleValue(reference.single, now, share)


def value_text(value: Any, kind: Kind) -> str:  # noqa: ANN401 (a feature's value of any kind)
    """A value for people. Angle brackets become ‹ and ›, because a category may come from a request."""
    if kind == "flag":
        return "true" if value else "false"
    text = value if isinstance(value, str) else repr(value).removesuffix(".0")
    return text.translate(_HARMLESS)


def present(values: Values) -> Values:
    """The values that are not missing."""
    missing: Any = np.equal(values, None) if values.dtype == object else np.isnan(values)  # type: ignore[call-overload]  # of objects as well
    there: Values = values[~missing]
    return there


def counted(there: Values) -> Counter[Any]:
    """How often each value occurs."""
    if there.dtype == object:
        return Counter(there.tolist())
    found, counts = np.unique(there, return_counts=True)
    return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))


def most_frequent(counts: Counter[Any]) -> tuple[Any, ...]:
    """Up to 20 values, by count, then by value, so that the order does not depend on that of the rows."""
    return tuple(sorted(counts, key=lambda value: (-counts[value], value))[:NAMED_CATEGORIES])
