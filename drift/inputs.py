"""What is in force and what was served: the bundle as it is now, and one window of predictions against it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from drift.comparison.compare import SCORE_COLUMN
from drift.comparison.findings import PerformanceWindow, Refusal, Rejections, performance_window
from drift.result import Target
from drift.telemetry.probe import PredictionTrace
from leeway.data.frames import typed_frame
from leeway.model import bundle as bundles
from leeway.model.bundle import Bundle, BundleError
from leeway.model.drift_plan import DriftPlan
from leeway.model.encoding import Encoded, Encoder
from leeway.model.manifest import MANIFEST
from leeway.model.sklearn import encode_frame
from leeway.store.engine import Engine, create_tables
from leeway.store.predictions import PredictionLog, Window
from leeway.store.rejections import ANY, RejectionLog
from leeway.store.tables import tables_for

MOST_LINKS = 20
DEEPEST = 10.0
"""A feature counts for no more than this in the order, or one absurd value would speak for a whole window."""


@dataclass(frozen=True)
class ActiveBundle:
    """One bundle with all that a comparison needs of it: its reference, its plan, its schema's logs."""

    bundle: Bundle
    reference: pd.DataFrame
    plan: DriftPlan
    log: PredictionLog
    rejections: RejectionLog


class BundleReloader:
    """The bundle in `folder`, loaded again whenever another one is there."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self._folder = folder
        self._engine = engine
        self._mark: tuple[int, int, int] | None = None
        self._in_force: ActiveBundle | None = None

    def current(self) -> ActiveBundle:
        """What is in force now.

        Raises:
            leeway.model.bundle.BundleError: there is no bundle that can be used.
            leeway.store.engine.DatabaseError: the tables of its schema cannot be made where they are missing.
        """
        mark = _mark(self._folder / MANIFEST)
        if self._in_force is None or mark is None or mark != self._mark:
            loaded = load_active_bundle(self._folder, self._engine)
            if mark != _mark(self._folder / MANIFEST):
                raise BundleError(f"{self._folder} was replaced while it was read")
            self._in_force, self._mark = loaded, mark
        return self._in_force

    def forget(self) -> None:
        """Load it anew the next time, and make its tables: the database may come back empty."""
        self._in_force = None

    def rest(self) -> None:
        """Let go of the database until the next time: a SQLite file that was exchanged would be seen no more."""
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
    return ActiveBundle(
        bundle=bundle,
        reference=reference,
        plan=bundle.card.drift,
        log=PredictionLog(engine, tables),
        rejections=RejectionLog(engine, tables),
    )


def _mark(manifest: Path) -> tuple[int, int, int] | None:
    """What tells one manifest from another without reading it; None where there is none."""
    try:
        status = manifest.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


@dataclass(frozen=True)
class WindowData:
    """One window of what was served: its rows, what was refused, how the model did, and where to look."""

    window: Window
    frame: pd.DataFrame
    rejections: Rejections
    performance: PerformanceWindow
    target: Target
    unusual: list[PredictionTrace]


def read_window(
    in_force: ActiveBundle, start: datetime, end: datetime, *, max_subjects: int, max_labels: int
) -> WindowData:
    """Read the window [start, end), and the last `max_labels` labelled predictions of the model in force.

    The frame has a `_score` only where this model made all of the window's predictions: after a change of models, the
    scores of the one before say nothing of this one.

    Raises:
        leeway.store.predictions.PredictionLogError: the database cannot be read now.
    """
    schema = in_force.bundle.schema
    window = in_force.log.window(start, end, limit=max_subjects)
    frame = typed_frame(schema, window.features)
    refused = in_force.rejections.between(start, end)
    labelled = in_force.log.labelled(in_force.bundle.version, max_labels)
    performance = performance_window(labelled.labels, labelled.scores, in_force.bundle.card)
    scores = {SCORE_COLUMN: pd.Series(window.columns["score"], dtype="float64")}
    return WindowData(
        window=window,
        frame=frame.assign(**scores) if window.model_version == in_force.bundle.version else frame,
        rejections=_rejections(window.rows, refused),
        performance=performance,
        target=_target(in_force.bundle, performance),
        unusual=_unusual(in_force.bundle, window, frame),
    )


def _rejections(answered: int, refused: Mapping[tuple[str, str], int]) -> Rejections:
    causes = [Refusal(feature or None, reason, items) for (feature, reason), items in refused.items() if reason != ANY]
    return Rejections(answered, refused.get((ANY, ANY), 0), tuple(causes))


def _target(bundle: Bundle, performance: PerformanceWindow) -> Target:
    """How far the live label rate is from that of the bundle's reference."""
    before, now = bundle.card.held_out.positive_share, performance.positive_share
    return Target(None if before is None or now is None else abs(now - before), performance.labels)


def _unusual(bundle: Bundle, window: Window, frame: pd.DataFrame) -> list[PredictionTrace]:
    """The most unusual predictions among those whose trace was sampled."""
    columns = window.columns
    traced = [place for place, trace in enumerate(columns["trace_id"]) if trace and columns["span_id"][place]]
    if not traced:
        return []
    found = most_unusual(bundle.encoder, encode_frame(bundle.encoder, frame.iloc[traced]))
    return [
        PredictionTrace(
            columns["trace_id"][place],
            columns["span_id"][place],
            columns["prediction_id"][place],
            columns["unusual_features"][place],
        )
        for place in (traced[each] for each in found)
    ]


def most_unusual(encoder: Encoder, encoded: Encoded, limit: int = MOST_LINKS) -> list[int]:
    """The places of up to `limit` unusual rows, the most unusual first.

    A row with more unusual features (see `Encoder.unusual`) goes before one with fewer. Among equals the one deeper in
    the tails goes first: the depth of a number is how far it lies beyond the reference's 0.5 or 99.5 % quantile, in
    widths of the range between the two; an unseen category, and a missing value where none ever was, have depth 1; a
    row's depth is the sum. Rows without unusual features are left out.
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
