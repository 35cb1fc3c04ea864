"""What a run compares: a window of served predictions with the active bundle. `drift.months` compares two months."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from drift.aggregates.databases import snapshot
from drift.aggregates.window import window_columns
from drift.comparison.compare import PreparedReference, WindowColumns
from drift.comparison.findings import PerformanceWindow, RejectionCause, Rejections, TooFewRows, performance_window
from drift.result import Model, TargetDifference, Window
from drift.telemetry.probe import PredictionTrace
from leeway.model import bundle as bundles
from leeway.model.answers import Answers
from leeway.model.bundle import Bundle
from leeway.model.card import Card
from leeway.model.drift_plan import Values, list_values
from leeway.model.encoding import Encoded, Encoder
from leeway.model.manifest import MANIFEST, BundleError
from leeway.store.engine import Engine, create_tables, translated
from leeway.store.predictions import PredictionLog, PredictionLogError
from leeway.store.rejections import ANY, RejectionLog
from leeway.store.tables import feature_key, tables_for

PAGE_SUBJECTS: Final = 20_000
"""Evidently's page is made from a sample of at most so many subjects."""
MOST_LINKS = 20
MOST_CANDIDATES = 1_000
DEEPEST = 10.0
"""The most that one feature counts in the order of unusual rows, so that one absurd value does not decide it alone."""


@dataclass(frozen=True)
class SegmentInputs:
    """The rows with one value of a column, in the reference (None if it has none) and in the current window."""

    value: str
    reference: PreparedReference | None
    current: WindowColumns


@dataclass(frozen=True)
class ComparisonInputs:
    """The reference and the current window, each subject counted once, and what else is known of the two.

    `sample` reads up to `PAGE_SUBJECTS` subjects of the current window, for Evidently's page; nothing else depends on
    it. `model` made the current window's predictions; it is unknown without a bundle or a source that names it.
    `unusual` are the traces of the window's most unusual predictions. `segments` are the two by the column `by`.
    """

    reference: PreparedReference
    current: WindowColumns
    sample: Callable[[], Mapping[str, Values]]
    reference_window: Window
    current_window: Window
    model: Model = field(default_factory=Model)
    rejections: Rejections | None = None
    performance: PerformanceWindow | None = None
    target: TargetDifference = field(default_factory=TargetDifference)
    unusual: tuple[PredictionTrace, ...] = ()
    by: str | None = None
    segments: tuple[SegmentInputs, ...] = ()


@dataclass(frozen=True)
class ActiveBundle:
    """A bundle with its reference, and the logs of its schema."""

    bundle: Bundle
    reference: PreparedReference
    log: PredictionLog
    rejections: RejectionLog
    engine: Engine


class BundleReloader:
    """Loads the bundle in `folder`, and loads it again when it was replaced."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self._folder = folder
        self._engine = engine
        self._mark: tuple[int, int, int] | None = None
        self._active: ActiveBundle | None = None

    def current(self) -> ActiveBundle:
        """The active bundle.

        Raises:
            leeway.model.manifest.BundleError: no usable bundle was found.
            leeway.store.engine.DatabaseError: the tables of its schema are missing and cannot be created.
        """
        mark = _mark(self._folder / MANIFEST)
        if self._active is None or mark is None or mark != self._mark:
            loaded = load_active_bundle(self._folder, self._engine)
            if mark != _mark(self._folder / MANIFEST):
                raise BundleError(f"{self._folder} was replaced while it was read")
            self._active, self._mark = loaded, mark
        return self._active

    def invalidate(self) -> None:
        """Load the bundle and create its tables at the next call: the database may come back empty."""
        self._active = None

    def release_connections(self) -> None:
        """Close the pooled connections: one that stays open would not see that a SQLite file was replaced."""
        self._engine.dispose()


@dataclass(frozen=True)
class MonitoredModel:
    """The model whose predictions are compared. The version is None if each run finds it out; so is a card."""

    name: str
    version: str | None = None
    card: Card | None = None


class WindowReader(Protocol):
    """Reads the windows of the worker's runs: `load` comes first in each run, `release` last."""

    def load(self) -> MonitoredModel:
        """Load the reference if it is not loaded, or was replaced."""
        ...

    def read(self, start: datetime, end: datetime) -> ComparisonInputs:
        """The window [start, end) against the reference."""
        ...

    def invalidate(self) -> None:
        """The database may come back empty."""
        ...

    def release(self) -> None:
        """Close what the run opened."""
        ...


class ServedPredictions:
    """Windows of the predictions that Leeway's own service recorded, against the active bundle's reference."""

    def __init__(self, bundles: BundleReloader, *, max_labels: int) -> None:
        self._bundles = bundles
        self._max_labels = max_labels

    def load(self) -> MonitoredModel:
        """See `WindowReader`; raises as `BundleReloader.current`."""
        bundle = self._bundles.current().bundle
        return MonitoredModel(bundle.name, bundle.version, bundle.card)

    def read(self, start: datetime, end: datetime) -> ComparisonInputs:
        """See `read_window`."""
        return read_window(self._bundles.current(), start, end, max_labels=self._max_labels)

    def invalidate(self) -> None:
        """See `WindowReader`."""
        self._bundles.invalidate()

    def release(self) -> None:
        """See `WindowReader`."""
        self._bundles.release_connections()


def load_active_bundle(folder: Path, engine: Engine) -> ActiveBundle:
    """Load and verify a bundle, its reference and its logs; raises as `BundleReloader.current`."""
    bundle = bundles.load(folder, lazy_scorer=True)
    tables = tables_for(bundle.schema)
    create_tables(engine, tables)
    try:
        reference = PreparedReference(bundle.reference_values(), bundle.schema, bundle.card.drift)
    except (ValueError, KeyError, OSError, TooFewRows) as error:
        raise BundleError(f"{folder}: {error}") from error
    return ActiveBundle(bundle, reference, PredictionLog(engine, tables), RejectionLog(engine, tables), engine)


def _mark(manifest: Path) -> tuple[int, int, int] | None:
    """Identifies a manifest without reading it; None if it does not exist."""
    try:
        status = manifest.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def read_window(active: ActiveBundle, start: datetime, end: datetime, *, max_labels: int) -> ComparisonInputs:
    """Aggregate the window [start, end), and read the last `max_labels` labelled predictions of the active bundle.

    The window has scores only if this model made all of its predictions: after a change of models, the old model's
    scores say nothing about the new one.

    Raises:
        leeway.store.predictions.PredictionLogError: the database cannot be read now.
    """
    bundle, reference, log = active.bundle, active.reference, active.log
    with translated(into=PredictionLogError), snapshot(active.engine) as view:
        ((rows, *versions),) = view.read(log.totals(start, end))
        keys = {name: feature_key(name) for name in bundle.schema.names}
        answers = bundle.schema.target.compared_column
        if versions == [bundle.version] * 2 and answers in reference.columns:
            keys[answers] = answers.removeprefix("_")
        current = window_columns(view, log.last_rows(start, end), reference, keys)
    labelled = log.labelled(bundle.version, max_labels)
    answered = Answers(labelled.scores, labelled.predictions, labelled.probabilities)
    performance = performance_window(labelled.labels, answered, bundle.card)

    def sample() -> dict[str, Values]:
        window = log.window(start, end, limit=PAGE_SUBJECTS)
        values = {each.name: list_values(window.features[each.name], each.kind) for each in bundle.schema}
        if answers in keys:
            values[answers] = list_values(window.columns[keys[answers]], bundle.schema.target.compared_kind)
        return values

    return ComparisonInputs(
        reference=reference,
        current=current,
        sample=sample,
        reference_window=Window(rows=reference.rows, subjects=reference.rows),
        current_window=Window.between(start, end, rows, current.subjects),
        model=model_of(bundle),
        rejections=_rejections(rows, active.rejections.between(start, end)),
        performance=performance,
        target=TargetDifference(performance.target_difference, performance.labels),
        unusual=_unusual(active, start, end),
    )


def model_of(bundle: Bundle) -> Model:
    """The model of a bundle, for a result."""
    return Model(bundle.name, bundle.version, bundle.schema.target.task)


def _rejections(answered: int, counts: Mapping[tuple[str, str], int]) -> Rejections:
    causes = [
        RejectionCause(feature or None, reason, items) for (feature, reason), items in counts.items() if reason != ANY
    ]
    return Rejections(answered, counts.get((ANY, ANY), 0), tuple(causes))


def _unusual(active: ActiveBundle, start: datetime, end: datetime) -> tuple[PredictionTrace, ...]:
    """The most unusual predictions among those whose trace was sampled, one per customer."""
    encoder = active.bundle.encoder
    rows = active.log.most_unusual(start, end, MOST_CANDIDATES)
    first = {row.user_id or row.prediction_id: row for row in reversed(rows)}
    candidates = [row for row in rows if first[row.user_id or row.prediction_id] is row]
    found = most_unusual(encoder, encoder.encode([row.features for row in candidates]))
    return tuple(
        PredictionTrace(row.trace_id, row.span_id, row.prediction_id, row.unusual_features)
        for row in (candidates[place] for place in found)
    )


def most_unusual(encoder: Encoder, encoded: Encoded, limit: int = MOST_LINKS) -> list[int]:
    """The positions of up to `limit` unusual rows, the most unusual first.

    Rows are ordered by their number of unusual features (see `Encoder.unusual`), then by depth. The depth of a number
    is its distance beyond the reference's 0.5 or 99.5 % quantile, in widths of the range between the two; an unseen
    category, or a missing value in a feature that never had one, has depth 1; a row's depth is the sum. Rows without
    unusual features are left out.
    """
    counts = np.array([len(names) for names in encoder.unusual(encoded)], dtype=np.int64)
    if not counts.any():
        return []
    depth = _depth(encoder, encoded)
    order = np.lexsort((np.arange(len(counts)), -depth, -counts))
    return [place for place in order[:limit].tolist() if counts[place]]


def _depth(encoder: Encoder, encoded: Encoded) -> NDArray[np.float64]:
    seen = [encoder.schema[name].seen for name in encoder.number_names]
    low = np.array([-np.inf if each.low is None else each.low for each in seen])
    high = np.array([np.inf if each.high is None else each.high for each in seen])
    width = high - low
    width = np.where(np.isfinite(width) & (width > 0), width, 1.0)
    beyond = np.maximum(low - encoded.numbers, encoded.numbers - high) / width
    missing = np.isnan(encoded.numbers) & np.array([each.missing_share == 0 for each in seen], dtype=bool)
    depth = np.where(missing, 1.0, np.clip(np.nan_to_num(beyond, nan=0.0), 0.0, DEEPEST)).sum(axis=1)
    for name, texts in encoded.texts.items():
        known = encoder.schema[name].seen.categories
        depth += np.array([text not in known for text in texts], dtype=np.float64)
    return np.asarray(depth, dtype=np.float64)
