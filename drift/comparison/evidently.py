"""The only module that imports Evidently: it draws Evidently's own page, and writes its JSON, for people to look at.

Verdicts do not depend on it: they use all rows, and this a sample. The import takes five seconds and
280 MB, so it happens with the first page.
"""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drift.comparison.columns import ReferenceColumn, counted, most_frequent, present, value_text
from drift.comparison.compare import PreparedReference
from leeway.model.distances import Method
from leeway.model.drift_plan import Values, clipped
from leeway.schema import Kind

OTHER_NEW: Final = "(other new values)"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """Two columns to compare: numbers for `wasserstein`, text for `jensenshannon`; something is present in each."""

    name: str
    method: Method
    threshold: float
    reference: Values
    current: Values


class EvidentlyPage:
    """Evidently's page and JSON. `scores` are its distances by column; `note` says what the page was made from."""

    def __init__(self, note: str, snapshot: Any) -> None:  # noqa: ANN401 (Evidently's type stays in here)
        self.note = note
        self._snapshot = snapshot
        found = {each["config"]["column"]: float(each["value"]) for each in snapshot.dict()["metrics"]}
        self.scores = {name: score for name, score in found.items() if math.isfinite(score)}

    def write_html(self, path: Path) -> None:
        """Write Evidently's page: about 4 MB, which loads nothing from the network. It begins with the note."""
        self._snapshot.save_html(str(path))
        head, body, rest = path.read_text(encoding="utf-8").partition("<body>")
        note = f'<p style="font-family: sans-serif; margin: 1em 2em">{self.note}</p>'
        path.write_text(head + body + note + rest, encoding="utf-8")

    def write_json(self, path: Path) -> None:
        """Write Evidently's JSON."""
        self._snapshot.save_json(str(path))


def evidently_page(reference: PreparedReference, sample: Mapping[str, Values], subjects: int) -> EvidentlyPage:
    """Compare a sample of a window of so many subjects with its reference, in Evidently.

    Evidently measures each column by the plan's method, against the threshold for all subjects. The page leaves out a
    column without values on one side, and one that Evidently cannot draw.
    """
    pairs = [
        Pair(name, column.method, reference.threshold(name, subjects), *_entries(sample[name], column))
        for name, column in reference.columns.items()
        if name in sample and present(sample[name]).size > 0 and len(column.counts) > 0
    ]
    try:
        snapshot = _run(pairs)
    except Exception:  # noqa: BLE001 (one column must not hide the others; each is tried alone, and failures logged)
        snapshot = _run([each for each in pairs if _is_drawable(each)])
    return EvidentlyPage(_note(sample[reference.schema.names[0]].size, subjects), snapshot)


def _note(taken: int, subjects: int) -> str:
    if taken >= subjects:
        return f"Made from all {subjects:,} subjects of the window."
    return (
        f"Made from a sample of {taken:,} of the window's {subjects:,} subjects. The distances and verdicts of the run,"
        " in its result.json, are computed from all of them."
    )


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


def _entries(values: Values, reference: ReferenceColumn) -> tuple[Values, Values]:
    """The reference's values and the window's, as Evidently compares them."""
    if reference.method == "wasserstein":
        return reference.entries, clipped(values)
    counts = counted(present(values))
    before = frozenset(reference.counts.by_value())
    new = Counter({value: count for value, count in counts.items() if value not in before})
    kept = before | frozenset(most_frequent(new))
    return _labels(reference.entries, reference.kind, kept), _labels(values, reference.kind, kept)


def _labels(values: Values, kind: Kind, kept: frozenset[Any]) -> NDArray[np.object_]:
    """The values as categories, in text; None is missing.

    Only the `kept` values keep their text; the others share one. The Jensen–Shannon distance is the same, because each
    value that is not in the reference adds its share times ln 2 to the divergence, and Evidently's time grows with the
    square of the number of categories. Evidently does not escape categories in its page, so `value_text` does.
    """
    codes, found = pd.factorize(values)
    texts = [value_text(value, kind) if value in kept else OTHER_NEW for value in found.tolist()]
    return np.array([*texts, None], dtype=object)[codes]  # a missing value has the code -1: the last
