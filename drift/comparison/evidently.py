"""The only module that imports Evidently: two frames in, a report out, with Evidently's own page and JSON.

The import takes five seconds and 280 MB, so it happens with the first comparison.
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from drift.comparison.compare import Pair, Reference, compare, plain_measure
from drift.comparison.findings import DriftReport
from leeway.model.drift_plan import DriftPlan
from leeway.schema import FeatureSchema

_log = logging.getLogger(__name__)


class Comparison:
    """Our `report` and Evidently's page and JSON, all from one run. Keeps no rows."""

    def __init__(self, report: DriftReport, snapshot: Any) -> None:  # noqa: ANN401 (Evidently's type stays in here)
        self.report = report
        self._snapshot = snapshot

    def write_html(self, path: Path) -> None:
        """Write Evidently's page: about 4 MB, which loads nothing from the network."""
        self._snapshot.save_html(str(path))

    def write_json(self, path: Path) -> None:
        """Write Evidently's JSON."""
        self._snapshot.save_json(str(path))


def compute_drift(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    schema: FeatureSchema,
    plan: DriftPlan,
    *,
    min_subjects: int = 0,
    current_subjects: int | None = None,
) -> Comparison:
    """Compare a window with its reference: the schema's features, and `_score` where both frames have it.

    `current` has n rows, one a subject; `reference` has m rows. Other columns are ignored. If the rows of `current` are
    a sample, `current_subjects` is the number of all subjects. Evidently measures each column by the plan's method,
    against max(0.1, c·√(1/n + 1/m)), see `leeway.model.distances`. A feature without values on one side is not measured
    (score None, detected); one with the same single value on both sides is `constant` and has not drifted. A feature
    that Evidently fails on is missing from its page, and has the same distance by `leeway.model.distances`.

    Raises:
        TooFewRows: n is below `min_subjects` or 0, or the reference is empty.
    """
    evidently = _Evidently()
    report = compare(
        Reference(reference, schema, plan),
        current,
        evidently.measure,
        min_subjects=min_subjects,
        current_subjects=current_subjects,
    )
    return Comparison(report, evidently.snapshot)


class _Evidently:
    """Measures pairs of columns, and keeps Evidently's run."""

    snapshot: Any = None

    def measure(self, pairs: Sequence[Pair]) -> dict[str, float]:
        """See `drift.comparison.compare.Measure`."""
        try:
            self.snapshot = _run(pairs)
        except Exception:  # noqa: BLE001 (one column must not hide the others; each is tried alone, and failures logged)
            self.snapshot = _run([each for each in pairs if _is_drawable(each)])
        found = {metric["config"]["column"]: float(metric["value"]) for metric in self.snapshot.dict()["metrics"]}
        found = {name: score for name, score in found.items() if math.isfinite(score)}
        return found | plain_measure([each for each in pairs if each.name not in found])


def _is_drawable(pair: Pair) -> bool:
    """Whether Evidently can measure and draw these columns.

    Its histogram fails, for example, on a single number so large that the next float is more than a bin away.
    """
    try:
        _run([pair])
    except Exception as error:  # noqa: BLE001 (Evidently raises anything)
        _log.info("Evidently cannot draw %s, so its page leaves the feature out: %s", pair.name, error)
        return False
    return True


def _run(pairs: Sequence[Pair]) -> Any:  # noqa: ANN401 (Evidently's type stays in here)
    """Evidently's run over these columns."""
    os.environ["DO_NOT_TRACK"] = "1"  # read on import; without it Evidently sends telemetry
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the import uses deprecated names of NumPy and litestar
        from evidently import DataDefinition, Dataset, Report  # noqa: PLC0415 (see the head of this module)
        from evidently.metrics import ValueDrift  # noqa: PLC0415 (the same)

    definition = DataDefinition(
        numerical_columns=[each.name for each in pairs if each.method == "wasserstein"],
        categorical_columns=[each.name for each in pairs if each.method == "jensenshannon"],
    )
    current = Dataset.from_pandas(pd.DataFrame({each.name: each.current for each in pairs}), definition)
    reference = Dataset.from_pandas(pd.DataFrame({each.name: each.reference for each in pairs}), definition)
    report = Report([ValueDrift(column=each.name, method=each.method, threshold=each.threshold) for each in pairs])
    with np.errstate(divide="ignore", invalid="ignore"):  # plotting a column that hardly varies divides by zero
        return report.run(current, reference)
