"""What a run compares: a window of served predictions with the active bundle, or two ingested months."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drift.comparison.findings import PerformanceWindow, RejectionCause, Rejections, performance_window
from drift.result import Target, Window
from drift.telemetry.probe import PredictionTrace
from leeway.data.tabular import typed_frame
from leeway.model import bundle as bundles
from leeway.model.bundle import Bundle
from leeway.model.drift_plan import DriftPlan
from leeway.model.encoding import Encoded, Encoder
from leeway.model.manifest import MANIFEST, BundleError
from leeway.model.sklearn import encode_frame
from leeway.schema import CHURN_SCHEMA, SCORE_COLUMN, FeatureSchema
from leeway.store import predictions
from leeway.store.engine import Engine, create_tables
from leeway.store.predictions import PredictionLog
from leeway.store.rejections import ANY, RejectionLog
from leeway.store.snapshots import Snapshots
from leeway.store.tables import tables_for

MOST_LINKS = 20
DEEPEST = 10.0
"""The most that one feature counts in the order of unusual rows, so that one absurd value does not decide it alone."""


@dataclass(frozen=True)
class ComparisonInputs:
    """Two frames with one row a subject, and what else is known of the two windows.

    Without a bundle there are no scores. `unusual` are the traces of the current window's most unusual predictions.
    """

    reference: pd.DataFrame
    current: pd.DataFrame
    reference_window: Window
    current_window: Window
    schema: FeatureSchema
    plan: DriftPlan
    bundle: Bundle | None = None
    rejections: Rejections | None = None
    performance: PerformanceWindow | None = None
    target: Target = field(default_factory=Target)
    unusual: tuple[PredictionTrace, ...] = ()


@dataclass(frozen=True)
class ActiveBundle:
    """A bundle with its reference, and the logs of its schema."""

    bundle: Bundle
    reference: pd.DataFrame
    log: PredictionLog
    rejections: RejectionLog


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


def load_active_bundle(folder: Path, engine: Engine) -> ActiveBundle:
    """Load and verify a bundle, its reference and its logs; raises as `BundleReloader.current`."""
    bundle = bundles.load(folder)
    tables = tables_for(bundle.schema)
    create_tables(engine, tables)
    try:
        reference = bundle.reference()
    except (ValueError, OSError) as error:
        raise BundleError(f"{folder}: {error}") from error
    return ActiveBundle(bundle, reference, PredictionLog(engine, tables), RejectionLog(engine, tables))


def _mark(manifest: Path) -> tuple[int, int, int] | None:
    """Identifies a manifest without reading it; None if it does not exist."""
    try:
        status = manifest.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def read_window(
    active: ActiveBundle, start: datetime, end: datetime, *, max_subjects: int, max_labels: int
) -> ComparisonInputs:
    """Read the window [start, end), and the last `max_labels` labelled predictions of the active bundle.

    The frame has a `_score` only if this model made all of the window's predictions: after a change of models, the
    old model's scores say nothing about the new one.

    Raises:
        leeway.store.predictions.PredictionLogError: the database cannot be read now.
    """
    bundle, rows = active.bundle, len(active.reference)
    window = active.log.window(start, end, limit=max_subjects)
    frame = typed_frame(bundle.schema, window.features)
    labelled = active.log.labelled(bundle.version, max_labels)
    performance = performance_window(labelled.labels, labelled.scores, bundle.card)
    scores = {SCORE_COLUMN: pd.Series(window.columns["score"], dtype="float64")}
    return ComparisonInputs(
        reference=active.reference,
        current=frame.assign(**scores) if window.model_version == bundle.version else frame,
        reference_window=Window(rows=rows, subjects=rows),
        current_window=Window.between(start, end, window.rows, window.subjects),
        schema=bundle.schema,
        plan=bundle.card.drift,
        bundle=bundle,
        rejections=_rejections(window.rows, active.rejections.between(start, end)),
        performance=performance,
        target=_target(bundle, performance),
        unusual=_unusual(bundle, window, frame),
    )


def months(snapshots: Snapshots, reference: date, current: date, bundle: Bundle | None) -> ComparisonInputs:
    """Two ingested months, every customer a subject.

    With a bundle its plan applies, its model scores both months, and performance is that on the current month's labels.
    Without one the plan is made from the reference month by the same rules.

    Raises:
        leeway.store.snapshots.UnknownMonth: one of the two was never ingested.
        leeway.store.snapshots.SnapshotsUnavailable: the database cannot be reached now.
    """
    before, now = snapshots.read(reference), snapshots.read(current)
    frames = [_scored(typed_frame(CHURN_SCHEMA, month.columns), bundle) for month in (before, now)]
    performance, target = None, Target()
    if bundle is not None and now.labels is not None:
        performance = performance_window(now.labels, frames[1][SCORE_COLUMN].to_numpy(), bundle.card)
    if before.labels is not None and now.labels is not None:
        target = Target(abs(float(np.mean(now.labels) - np.mean(before.labels))), len(now.labels))
    return ComparisonInputs(
        reference=frames[0],
        current=frames[1],
        reference_window=Window.between(reference, reference, len(before), len(before)),
        current_window=Window.between(current, current, len(now), len(now)),
        schema=CHURN_SCHEMA,
        plan=bundle.card.drift if bundle else DriftPlan.from_reference(CHURN_SCHEMA, frames[0]),
        bundle=bundle,
        performance=performance,
        target=target,
    )


def _scored(frame: pd.DataFrame, bundle: Bundle | None) -> pd.DataFrame:
    if bundle is None:
        return frame
    return frame.assign(**{SCORE_COLUMN: bundle.scorer.score(encode_frame(bundle.encoder, frame))})


def _rejections(answered: int, counts: Mapping[tuple[str, str], int]) -> Rejections:
    causes = [
        RejectionCause(feature or None, reason, items) for (feature, reason), items in counts.items() if reason != ANY
    ]
    return Rejections(answered, counts.get((ANY, ANY), 0), tuple(causes))


def _target(bundle: Bundle, performance: PerformanceWindow) -> Target:
    """How far the live label rate is from that of the bundle's reference."""
    before, now = bundle.card.held_out.positive_share, performance.positive_share
    return Target(None if before is None or now is None else abs(now - before), performance.labels)


def _unusual(bundle: Bundle, window: predictions.Window, frame: pd.DataFrame) -> tuple[PredictionTrace, ...]:
    """The most unusual predictions among those whose trace was sampled."""
    columns = window.columns
    traced = [place for place, trace in enumerate(columns["trace_id"]) if trace and columns["span_id"][place]]
    if not traced:
        return ()
    found = most_unusual(bundle.encoder, encode_frame(bundle.encoder, frame.iloc[traced]))
    wanted = [columns[name] for name in PredictionTrace.__dataclass_fields__]
    return tuple(PredictionTrace(*(values[traced[each]] for values in wanted)) for each in found)


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
