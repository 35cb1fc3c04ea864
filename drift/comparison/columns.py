"""One column of the reference and of a window: its values, missing values and new values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drift.comparison.findings import SingleValue
from leeway.model.drift_plan import Values, values_of
from leeway.model.encoding import USUAL_QUANTILES
from leeway.schema import Kind

NAMED_CATEGORIES: Final = 20
OTHER_NEW: Final = "(other new values)"
_HARMLESS: Final = str.maketrans("<>", "‹›")


@dataclass(frozen=True)
class ReferenceColumn:
    """One feature in the reference; `low` and `high` are None for a category.

    `known` are the distinct values and the schema's categories: the model was trained on them. `single` is the only
    value, as text.
    """

    name: str
    kind: Kind
    entries: Values
    missing_share: float
    distinct: frozenset[Any]
    known: frozenset[Any]
    low: float | None
    high: float | None
    single: str | None

    @classmethod
    def of(cls, name: str, kind: Kind, column: pd.Series[Any], seen: Iterable[str] = ()) -> ReferenceColumn:
        """From a column of the reference; `seen` are the schema's categories."""
        values = values_of(column, kind)
        present = _present(values)
        distinct = frozenset(pd.unique(present).tolist())
        low, high = (
            np.quantile(present, USUAL_QUANTILES).tolist() if kind != "category" and present.size else (None, None)
        )
        missing_share = 1 - present.size / max(1, values.size)
        known = distinct | frozenset(seen)
        return cls(name, kind, values, missing_share, distinct, known, low, high, _single(column, kind))


@dataclass(frozen=True)
class CurrentColumn:
    """One feature in a window, against the reference (see `drift.result.FeatureDrift`)."""

    entries: Values
    missing_share: float
    constant: bool
    outside_share: float
    new_categories: tuple[str, ...]
    single: SingleValue | None

    @classmethod
    def of(cls, column: pd.Series[Any], reference: ReferenceColumn) -> CurrentColumn:
        """From a column of a window."""
        values = values_of(column, reference.kind)
        present = _present(values)
        counts = _counts(present)
        unseen = Counter({value: count for value, count in counts.items() if value not in reference.known})
        if reference.low is not None and reference.high is not None:
            outside = int(((present < reference.low) | (present > reference.high)).sum())
        else:
            outside = unseen.total()
        constant = len(counts) <= 1 and counts.keys() == reference.distinct
        return cls(
            values,
            1 - present.size / max(1, values.size),
            constant=constant,
            outside_share=outside / max(1, present.size),
            new_categories=_most_frequent(unseen) if reference.kind == "category" else (),
            single=None
            if constant or not counts
            else _single_value(reference, _single(column, reference.kind), counts),
        )


def _single(column: pd.Series[Any], kind: Kind) -> str | None:
    """The only value of a column as it was given, not clipped like those that are compared; None if there are more."""
    found = column.dropna().unique().tolist()
    return _text(found[0], kind) if len(found) == 1 else None


def _single_value(reference: ReferenceColumn, now: str | None, counts: Counter[Any]) -> SingleValue | None:
    if now is None:
        return None if reference.single is None else SingleValue(reference.single, None, 0.0)
    before = _present(reference.entries)
    return SingleValue(reference.single, now, float(np.mean(before == next(iter(counts)))) if before.size else 0.0)


def labels(values: Values, reference: ReferenceColumn, named: tuple[Any, ...]) -> NDArray[np.object_]:
    """The values as categories, in text; None is missing.

    Of the values that are not in the reference only the `named` keep their text; the others share one. The
    Jensen–Shannon distance is the same, because each adds its share times ln 2 to the divergence, and Evidently's time
    grows with the square of the number of categories. Angle brackets become ‹ and ›: Evidently does not escape
    categories in its page, and a category may come from a request.
    """
    codes, found = pd.factorize(values)
    kept = reference.distinct | set(named)
    texts = [_text(value, reference.kind) if value in kept else OTHER_NEW for value in found.tolist()]
    return np.array([*texts, None], dtype=object)[codes]  # a missing value has the code -1: the last


def most_frequent_new(values: Values, reference: ReferenceColumn) -> tuple[Any, ...]:
    """Up to 20 values that are not in the reference, most frequent first."""
    counts = _counts(_present(values))
    new = Counter({value: count for value, count in counts.items() if value not in reference.distinct})
    return _most_frequent(new)


def _text(value: Any, kind: Kind) -> str:  # noqa: ANN401 (a feature's value of any kind)
    if kind == "flag":
        return "true" if value else "false"
    text = value if isinstance(value, str) else repr(value).removesuffix(".0")
    return text.translate(_HARMLESS)


def _present(values: Values) -> Values:
    present: Values = values[~pd.isna(values)]
    return present


def _counts(present: Values) -> Counter[Any]:
    codes, found = pd.factorize(present)
    return Counter(dict(zip(found.tolist(), np.bincount(codes, minlength=len(found)).tolist(), strict=True)))


def _most_frequent(counts: Counter[Any]) -> tuple[Any, ...]:
    """Up to 20 values, by count, then by value, so that the order does not depend on that of the rows."""
    return tuple(sorted(counts, key=lambda value: (-counts[value], value))[:NAMED_CATEGORIES])
