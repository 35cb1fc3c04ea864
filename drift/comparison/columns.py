"""One column of the reference and of a window: its values, missing values and new values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from drift.comparison.findings import SingleValue
from leeway.model.distances import Method, jensenshannon_of_counts, spread, wasserstein_normed
from leeway.model.drift_plan import Values, clipped
from leeway.model.encoding import USUAL_QUANTILES
from leeway.schema import Kind

NAMED_CATEGORIES: Final = 20
_HARMLESS: Final = str.maketrans("<>", "‹›")


@dataclass(frozen=True, eq=False)
class ValueCounts:
    """How often each value occurs: numbers in ascending order, or text."""

    values: Values
    times: npt.NDArray[np.int64]

    @classmethod
    def of(cls, there: Values) -> ValueCounts:
        """Count values, none of which is missing."""
        if there.dtype != object:
            values, times = np.unique(there.astype(np.float64, copy=False), return_counts=True)
            return cls(values, times)
        found = Counter(there.tolist())
        return cls(np.array(list(found), dtype=object), np.array(list(found.values()), dtype=np.int64))

    def __len__(self) -> int:
        return len(self.values)

    @property
    def total(self) -> int:
        """How many values there are."""
        return int(self.times.sum())

    @property
    def numbers(self) -> npt.NDArray[np.float64]:
        """The values of a column of numbers."""
        return self.values.astype(np.float64, copy=False)

    def by_value(self) -> dict[Any, int]:
        """The counts by value."""
        return dict(zip(self.values.tolist(), self.times.tolist(), strict=True))

    def of_value(self, value: Any) -> int:  # noqa: ANN401 (of any kind)
        """How often this value occurs."""
        return int(self.times[self.values == value].sum())


@dataclass(frozen=True)
class ReferenceColumn:
    """One feature in the reference; `low` and `high` are None for a category.

    `entries` are clipped to the range of 32-bit floats, `counts` are their distinct values with their numbers, `centre`
    and `spread` are mean and standard deviation of numbers. `known` are a category's values in the reference and in the
    schema: the model was trained on them. `single` is the only value, as text.
    """

    name: str
    kind: Kind
    method: Method
    entries: Values
    missing_share: float
    counts: ValueCounts
    centre: float
    spread: float
    known: frozenset[Any]
    low: float | None
    high: float | None
    single: str | None

    @classmethod
    def of(cls, name: str, kind: Kind, method: Method, values: Values, seen: Iterable[str] = ()) -> ReferenceColumn:
        """From the values of the reference; `seen` are the schema's categories."""
        entries = clipped(values)
        there = present(entries)
        counts = ValueCounts.of(there)
        are_numbers = kind != "category" and there.size > 0
        low, high = np.quantile(there, USUAL_QUANTILES).tolist() if are_numbers else (None, None)
        return cls(
            name,
            kind,
            method,
            entries,
            missing_share=1 - there.size / max(1, values.size),
            counts=counts,
            centre=float(np.mean(there)) if are_numbers else 0.0,
            spread=spread(there) if are_numbers else 0.0,
            known=frozenset(counts.values.tolist()) | frozenset(seen) if kind == "category" else frozenset(),
            low=low,
            high=high,
            single=only_value(values, kind),
        )

    def distance_to(self, counts: Mapping[Any, int], others: int = 0) -> float | None:
        """The Jensen–Shannon distance of a window's counts; `others` are values that the reference does not have.

        None if a side has no values.
        """
        if not len(self.counts) or not (counts or others):
            return None
        return jensenshannon_of_counts(self.counts.by_value(), counts, others)

    def is_constant(self, distinct: Collection[Any]) -> bool:
        """Whether these values are at most one, and that of the reference."""
        return len(distinct) == len(self.counts) <= 1 and all(self.counts.of_value(value) for value in distinct)


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
        counts = ValueCounts.of(there)
        unseen: Counter[Any] = Counter()
        if reference.kind == "category":
            unseen.update({value: n for value, n in counts.by_value().items() if value not in reference.known})
            outside = unseen.total()
        elif reference.low is None or reference.high is None:
            outside = there.size
        else:
            outside = int(((there < reference.low) | (there > reference.high)).sum())
        if reference.method == "jensenshannon":
            distance = reference.distance_to(counts.by_value())
        else:
            distance = wasserstein_normed(reference.entries, there) if len(reference.counts) and there.size else None
        distinct = counts.values[:2].tolist()
        constant = reference.is_constant(distinct)
        single = single_value(reference, only_value(values, reference.kind), next(iter(distinct), None))
        return cls(
            distance,
            1 - there.size / max(1, values.size),
            constant=constant,
            outside_share=outside / max(1, there.size),
            new_categories=most_frequent(unseen) if reference.kind == "category" else (),
            single=None if constant or not distinct else single,
        )


def only_value(values: Values, kind: Kind) -> str | None:
    """The only value as text, as it was given and not clipped; None if there are more, or none."""
    found = counted(present(values))
    return value_text(next(iter(found)), kind) if len(found) == 1 else None


def single_value(reference: ReferenceColumn, now: str | None, value: Any) -> SingleValue | None:  # noqa: ANN401 (of any kind)
    """What is known of a feature with one value throughout a window: `value` is it, and `now` its text."""
    if now is None:
        return None if reference.single is None else SingleValue(reference.single, None, 0.0)
    share = reference.counts.of_value(value) / max(1, reference.counts.total)
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
