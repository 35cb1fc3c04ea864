"""The power of drift detection: the smallest shift that it finds in 9 of 10 windows, by feature and window size.

`python -m benchmarks.drift_power docs/drift-power.md` writes the table; the same seed gives the same table.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drift.comparison.columns import CurrentColumn, ReferenceColumn
from drift.comparison.compare import PreparedReference, WindowColumns, compare, has_drifted
from leeway.data.population import CUSTOMERS, population
from leeway.data.tabular import typed_frame
from leeway.model.drift_plan import ColumnPlan, DriftPlan, Values, frame_values
from leeway.schema import CHURN_SCHEMA

SIZES: Final = (200, 500, 1_000, 5_000)
REFERENCE_ROWS: Final = 2_113
"""As many as the bundle of the built-in population holds out."""
WINDOWS: Final = 100
_FALSE_ALARM_FACTOR = 3  # false alarms are rare, so they are counted over more windows
FOUND: Final = 0.9
SEED: Final = 7
_STEP: Final = 0.01  # shifts are multiples of it
_MOST: Final = 1.0

Windows: TypeAlias = NDArray[np.int64]
"""Indices of customers, one row per window."""
Shift: TypeAlias = Callable[[Values, float], Values]


@dataclass(frozen=True)
class Power:
    """The table. `rows` has, by feature, the unit and the smallest detected shift for each size (None: none detected).

    `false_alarms` is the share of windows without a shift in which drift was detected, for each size.
    """

    false_alarms: tuple[float, ...]
    rows: dict[str, tuple[str, tuple[float | None, ...]]]


def measure_power(sizes: Sequence[int] = SIZES, *, windows: int = WINDOWS, seed: int = SEED) -> Power:
    """Find the smallest shift of windows of the built-in population that is detected in 9 of 10 of them.

    The reference is a sample of that population. Windows are drawn from all of it with replacement, so that the result
    includes the reference's sampling error.
    """
    rng = np.random.default_rng(seed)
    everyone = typed_frame(CHURN_SCHEMA, population().columns)
    frame = everyone.iloc[np.sort(rng.choice(len(everyone), REFERENCE_ROWS, replace=False))]
    plan = DriftPlan.from_reference(CHURN_SCHEMA, frame)
    reference = PreparedReference(frame_values(frame, CHURN_SCHEMA), CHURN_SCHEMA, plan)
    people = frame_values(everyone, CHURN_SCHEMA)
    drawn = {size: rng.integers(0, len(everyone), (windows, size)) for size in sizes}
    rows = {}
    for name, column in reference.columns.items():
        values = people[name]
        unit, shift = _shift_of(column, plan.features[name])
        found = tuple(_smallest(column, plan.features[name], values, drawn[size], shift) for size in sizes)
        rows[name] = (unit, found)
    return Power(
        tuple(_false_alarm_share(reference, people, size, _FALSE_ALARM_FACTOR * windows, rng) for size in sizes), rows
    )


def _shift_of(column: ReferenceColumn, plan: ColumnPlan) -> tuple[str, Shift]:
    """The unit of the shift, the reference's standard deviation or a share of the subjects, and the shift."""
    if plan.method == "wasserstein":
        spread = float(np.nanstd(column.entries.astype(np.float64)))
        return "standard deviations", lambda values, by: values + by * spread
    codes, found = pd.factorize(column.entries)
    ranked = np.argsort(-np.bincount(codes[codes >= 0]), kind="stable")
    common, second = found[ranked[0]], found[ranked[1]]
    return f"share moved from {_label(common)} to {_label(second)}", _move_share(common, second)


def _move_share(common: object, second: object) -> Shift:
    def shift(values: Values, share: float) -> Values:
        """Change the first rows with the most frequent value; rows are in random order."""
        places = np.flatnonzero(values == common)[: round(share * values.size)]
        return np.where(np.isin(np.arange(values.size), places), np.array(second, dtype=values.dtype), values)

    return shift


def _smallest(
    column: ReferenceColumn, plan: ColumnPlan, values: Values, windows: Windows, shift: Shift
) -> float | None:
    """Search by bisection: larger shifts are detected more often."""

    def is_detected(steps: int) -> bool:
        return _detected_share(column, plan, values[windows], shift, steps * _STEP) >= FOUND

    low, high = 0, round(_MOST / _STEP)
    if not is_detected(high):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_detected(middle) else (middle, high)
    return high * _STEP


def _detected_share(column: ReferenceColumn, plan: ColumnPlan, drawn: Values, shift: Shift, by: float) -> float:
    threshold = plan.threshold_at(drawn.shape[1], column.entries.size)
    windows = (CurrentColumn.of(shift(window, by), column) for window in drawn)
    return float(np.mean([has_drifted(window.distance, threshold, 0.0) for window in windows]))


def _false_alarm_share(
    reference: PreparedReference, people: Mapping[str, Values], size: int, windows: int, rng: np.random.Generator
) -> float:
    """The share of windows without a shift in which drift is detected."""
    everyone = people[reference.schema.names[0]].size
    drawn = (rng.integers(0, everyone, size) for _ in range(windows))
    samples = ({name: values[rows] for name, values in people.items()} for rows in drawn)
    reports = (compare(reference, WindowColumns.of(sample, reference)) for sample in samples)
    return float(np.mean([bool(report.detected) for report in reports]))


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


_PAGE: Final = """\
# Drift power

The smallest shift of one feature that is detected in at least 9 of 10 windows, by the number of subjects in a window.

- The reference holds {reference:,} of the {customers:,} customers of the built-in population, as many as its bundle
  holds out; windows are drawn from all of them. Distances, thresholds and the rule are those of the drift worker.
- All values of a numeric feature are shifted, in standard deviations of the reference. For a feature compared as
  categories, a share of all subjects is moved from the most frequent value to the second.
- Shifts are multiples of {step:g}, and each is tested on {windows} windows.

{shifts}

False alarms: the share of {quiet} windows without a shift in which drift is detected in any feature.

{alarms}

Generated by `python -m benchmarks.drift_power docs/drift-power.md` in about a minute.
"""


def power_page(power: Power, sizes: Sequence[int] = SIZES) -> str:
    """The page in Markdown."""
    shifts = [
        [f"`{name}`", unit, *("> 1" if each is None else f"{each:.2f}" for each in found)]
        for name, (unit, found) in power.rows.items()
    ]
    columns = [f"{size:,}" for size in sizes]
    return _PAGE.format(
        reference=REFERENCE_ROWS,
        customers=CUSTOMERS,
        step=_STEP,
        windows=WINDOWS,
        quiet=_FALSE_ALARM_FACTOR * WINDOWS,
        shifts=_markdown([["feature", "shift in", *columns], *shifts], texts=2),
        alarms=_markdown(
            [["subjects", *columns], ["false alarms", *(f"{share:.1%}" for share in power.false_alarms)]], texts=1
        ),
    )


def _markdown(rows: Sequence[Sequence[str]], texts: int) -> str:
    rule = ["---"] * texts + ["---:"] * (len(rows[0]) - texts)
    return "\n".join("| " + " | ".join(row) + " |" for row in (rows[0], rule, *rows[1:]))


def main(arguments: Sequence[str]) -> None:
    """Write the page to the file in `arguments`."""
    (path,) = arguments
    Path(path).write_text(power_page(measure_power()), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
