"""Evidently's two distances, and how large they get by chance, in plain numpy.

`drift.aggregates` computes them where a window's rows are. This module computes them from values in memory, and what
a bundle stores for each feature: the distance that fits it, and how noisy that distance is. Tests check that both
distances equal those of Evidently 0.7.23 within 1e-9.

Evidently compares a column as numerical or as categorical. Its page gets features with `wasserstein` as numerical
columns and features with `jensenshannon` as categorical ones, because Evidently would make a histogram of a numerical
column with many values, and its bins would move with the window.

None, NaN and infinities count as missing and are ignored, as in Evidently.

Why not scipy: the noise needs thousands of distances at once, which scipy computes for Jensen–Shannon only, at half the
speed; its Wasserstein distance is 6 to 12 times slower; and the API process, which reads drift plans, must not load it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from leeway.schema import Kind

Method: TypeAlias = Literal["wasserstein", "jensenshannon"]
Floats: TypeAlias = npt.NDArray[np.float64]

BASE_THRESHOLD: Final = 0.1
"""Evidently's own threshold for both distances."""

FALSE_ALARM_RATE: Final = 0.05
"""The largest share of windows without drift in which any feature is detected."""

_FEW_VALUES: Final = 5  # a numeric feature of no more distinct values is compared as categories
_LEAST_SPREAD: Final = 0.001  # Evidently divides by at least this
_WINDOWS: Final = (200, 1_000, 5_000)  # rows
_DRAWS: Final = 4_000
_FEWEST_DRAWS: Final = 200
_CELLS: Final = 2_000_000  # draws × distinct values, at each size of window: bounds the time
_CHUNK_CELLS: Final = 250_000  # the same, at a time: 2 MB an array
_CUTS: Final = 64


def method_for(kind: Kind, values: npt.ArrayLike) -> Method:
    """Choose the distance for a feature from its kind and its values in the reference.

    Normed Wasserstein for numbers and integers with more than five distinct values, Jensen–Shannon for the rest:
    Evidently's choice above 1,000 rows. The bundle fixes it, so that small windows are compared in the same way.
    """
    numeric = kind in ("number", "integer") and np.unique(_numbers(values)).size > _FEW_VALUES
    return "wasserstein" if numeric else "jensenshannon"


def wasserstein_normed(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """First Wasserstein distance ÷ standard deviation of the reference (ddof 0, at least 0.001).

    Two equal constants have distance 0; from a constant reference it is 1,000 times the difference.

    Raises:
        ValueError: a side has no value (Evidently raises, too).
    """
    before, after = _not_empty(_numbers(reference)), _not_empty(_numbers(current))
    both = np.concatenate([before, after])
    order = np.argsort(both)
    # How far the two distribution functions are apart after each value.
    gap = np.cumsum(np.where(order < before.size, 1 / before.size, -1 / after.size))
    return float(np.abs(gap[:-1]) @ np.diff(both[order])) / spread(before)


def jensenshannon(reference: npt.ArrayLike, current: npt.ArrayLike) -> float:
    """Jensen–Shannon distance of the shares of each value, natural logarithm: 0 to √ln 2 ≈ 0.833.

    Values are compared as Python compares them (1, 1.0 and True are equal). A new value has share 0 in the reference.
    Two equal constants have distance 0, two different ones √ln 2.

    Raises:
        ValueError: a side has no value (Evidently raises, too).
    """
    return jensenshannon_of_counts(Counter(_present(reference)), Counter(_present(current)))


def jensenshannon_of_counts(reference: Mapping[Any, int], current: Mapping[Any, int], others: int = 0) -> float:
    """Jensen–Shannon distance of two counts of values, as above.

    `others` are further values of the current side, none of which the reference has. How many different values they
    are makes no difference: a value without a share in the reference adds its share times ln 2 to the divergence.

    Raises:
        ValueError: a side has no value.
    """
    values = [*reference, *(value for value in current if value not in reference)]
    before = np.array([*(reference.get(value, 0) for value in values), 0], dtype=np.float64)
    after = np.array([*(current.get(value, 0) for value in values), others], dtype=np.float64)
    if not before.any() or not after.any():
        raise ValueError("nothing to compare: no value is present")
    return float(_js_distance(before / before.sum(), after / after.sum()))


def noise_constant(values: npt.ArrayLike, method: Method, *, features: int, seed: int = 0) -> float:
    """Estimate the constant c of one feature: without drift its distance rarely reaches c·√(1/n + 1/m).

    `values` are the m rows of the reference, with missing values: they leave fewer rows to compare. n is the number of
    the window's subjects, at least 200. "Rarely" is 0.05 ÷ `features`, the number of features compared together, so
    that by Bonferroni's inequality at most one window in twenty raises a false alarm.

    Why the root: for two samples of one distribution, √(nm/(n+m))·W₁ tends to ∫|B(F(x))|dx with a Brownian bridge B
    (del Barrio, Giné and Matrán, Annals of Probability 27, 1999), and 8nm/(n+m) times the Jensen–Shannon divergence,
    of which the distance is the square root, to χ² with one degree of freedom less than there are values (Menéndez
    et al., Journal of the Franklin Institute 334, 1997). Both limits depend on the feature, and heavy tails and rare
    values reach them slowly; so c is the largest of three quantiles, each of 4,000 pairs of a reference and a window
    (200, 1,000 or 5,000 rows) drawn with replacement from the rows given.

    Time is bounded: neighbours among more than 128 distinct numbers are grouped; for many categories fewer pairs are
    drawn. The same seed gives the same c. A feature without variation has 0.
    """
    rows = np.asarray(values, dtype=object).size
    counts, points = _support(values, method)
    if counts.size <= 1:
        return 0.0
    rng = np.random.default_rng(seed)
    draws = int(np.clip(_CELLS // counts.size, _FEWEST_DRAWS, _DRAWS))
    chunks = _split(draws, max(1, _CHUNK_CELLS // counts.size))
    noise = np.concatenate([_noise(rng, counts / rows, points, rows, chunk) for chunk in chunks], axis=1)
    # A further draw exceeds this one with at most the stated probability, even if there are few draws.
    rank = min(draws, math.ceil((draws + 1) * (1 - FALSE_ALARM_RATE / features)))
    return float(np.sort(noise, axis=1)[:, rank - 1].max())


def effective_threshold(constant: float, subjects: int, reference_rows: int, base: float = BASE_THRESHOLD) -> float:
    """The distance from which on a feature has drifted: max(base, c·√(1/n + 1/m)), n subjects, m reference rows.

    1/n is the window's noise, 1/m that of the reference, which is a sample itself: a window of other customers differs
    from it for that reason, too. With a large reference this is max(base, c/√n).
    """
    return max(base, constant * math.sqrt(1 / subjects + 1 / reference_rows))


def cumulative_shares(scores: npt.ArrayLike, bounds: Sequence[float]) -> tuple[float, ...]:
    """Share of the scores that are at most each bound, in the order of the bounds.

    Raises:
        ValueError: there is no score.
    """
    ordered = np.sort(_not_empty(_numbers(scores)))
    return tuple(int(below) / ordered.size for below in np.searchsorted(ordered, bounds, side="right"))


def _numbers(values: npt.ArrayLike) -> Floats:
    numbers = np.asarray(values, dtype=np.float64)
    return numbers[np.isfinite(numbers)]


def _present(values: npt.ArrayLike) -> list[Any]:
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        known: list[Any] = values[np.isfinite(values)].tolist()
        return known
    return [value for value in np.asarray(values, dtype=object).tolist() if not _is_missing(value)]


def _is_missing(value: Any) -> bool:  # noqa: ANN401 (features of every kind come here)
    # Only NaN differs from itself. pandas' NA raises TypeError here, and so never counts as a value.
    return value is None or bool(value != value) or (isinstance(value, float) and math.isinf(value))  # noqa: PLR0124


def _not_empty(numbers: Floats) -> Floats:
    if not numbers.size:
        raise ValueError("nothing to compare: no value is present")
    return numbers


def spread(values: npt.ArrayLike) -> float:
    """Standard deviation of the reference (ddof 0), at least 0.001: what its Wasserstein distances are divided by."""
    return max(float(np.std(_numbers(values))), _LEAST_SPREAD)


def _js_distance(first: Floats, second: Floats) -> Floats:
    """Distance between shares along the last axis."""
    middle = (first + second) / 2
    divergence = _relative_entropy(first, middle) + _relative_entropy(second, middle)
    return np.asarray(np.sqrt(np.maximum(divergence, 0) / 2))  # rounding may leave it a hair below 0


def _relative_entropy(shares: Floats, middle: Floats) -> Floats:
    ratio = np.divide(shares, middle, out=np.ones_like(shares), where=shares > 0)
    return np.asarray(np.sum(shares * np.log(ratio), axis=-1))


def _support(values: npt.ArrayLike, method: Method) -> tuple[Floats, Floats | None]:
    """The number of occurrences of each distinct value and, for numbers, its difference from the mean."""
    if method == "jensenshannon":
        return np.array(list(Counter(_present(values)).values()), dtype=np.float64), None
    points, occurrences = np.unique(_numbers(values), return_counts=True)
    counts = occurrences.astype(np.float64)
    if points.size > 2 * _CUTS:
        points, counts = _grouped(points, counts)
    return counts, points - (points @ counts / counts.sum() if points.size else 0)


def _grouped(points: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Replace neighbours by their mean, so that no group spans more than 1/64 of the rows or of the range.

    By rows alone a heavy tail would become one point, by range alone the bulk of the values.
    """
    by_rows = np.floor((np.cumsum(counts) - counts) / counts.sum() * _CUTS)
    by_range = np.floor((points - points[0]) / (points[-1] - points[0]) * _CUTS)
    begins = (np.diff(by_rows) > 0) | (np.diff(by_range) > 0)
    group = np.concatenate([[0], np.cumsum(begins)])
    sums = np.bincount(group, counts).astype(np.float64)
    return np.bincount(group, counts * points) / sums, sums


def _split(total: int, most: int) -> Iterator[int]:
    yield from (min(most, total - start) for start in range(0, total, most))


def _noise(rng: np.random.Generator, shares: Floats, points: Floats | None, rows: int, draws: int) -> Floats:
    """Distances ÷ √(1/n + 1/m) between drawn references and windows: one row per window size."""
    reference = _drawn(rng, shares, rows, draws)
    noise = [
        _distances(reference, _drawn(rng, shares, size, draws), points) / math.sqrt(1 / size + 1 / rows)
        for size in _WINDOWS
    ]
    return np.stack(noise)


def _drawn(rng: np.random.Generator, shares: Floats, rows: int, draws: int) -> Floats:
    """Shares of each value among the rows that have one, in `draws` samples; all 0 if none has."""
    missing = max(0.0, 1 - float(shares.sum()))
    counts = rng.multinomial(rows, [*shares, missing], size=draws)[:, :-1].astype(np.float64)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


def _distances(reference: Floats, current: Floats, points: Floats | None) -> Floats:
    """One distance for each pair of samples; 0 if a side is empty, which is never compared."""
    if points is None:
        distance = _js_distance(reference, current)
    else:
        variance = reference @ points**2 - (reference @ points) ** 2
        spread = np.maximum(np.sqrt(np.maximum(variance, 0)), _LEAST_SPREAD)
        distance = np.abs(np.cumsum(reference - current, axis=1)[:, :-1]) @ np.diff(points) / spread
    return np.where(reference.any(axis=1) & current.any(axis=1), distance, 0)
