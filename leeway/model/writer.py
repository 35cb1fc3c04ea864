"""Write a bundle: model, schema, reference, card and manifest. The folder is replaced as a whole."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from leeway.data.tabular import infer_schema, typed_frame
from leeway.model import bundle as bundles
from leeway.model import manifest
from leeway.model.agreement import Compared, agreeing_onnx, compare, compare_strange
from leeway.model.answers import Answers
from leeway.model.bundle import Bundle
from leeway.model.card import Card, Distribution, HeldOut, ScoreReference, TrainedOn
from leeway.model.conversion import NotExpressible
from leeway.model.distances import cumulative_shares
from leeway.model.drift_plan import DriftPlan
from leeway.model.encoding import USUAL_QUANTILES, Encoder, usual_range
from leeway.model.figures import baseline, figures, label_shares
from leeway.model.frame import FrameLayout
from leeway.model.manifest import BundleError, Manifest, sha256, write_json, write_manifest
from leeway.model.performance import roc_auc
from leeway.model.pipeline_target import DEFAULT_THRESHOLD, labels_of, target_of, threshold_of
from leeway.model.sklearn import SklearnScorer, encode_frame, write_pipeline
from leeway.schema import (
    LABEL_COLUMN,
    PREDICTION_COLUMN,
    SCORE_COLUMN,
    Feature,
    FeatureSchema,
    Label,
    Seen,
    Target,
    Value,
)
from leeway.telemetry.names import SCORE_BUCKETS

LIBRARIES = ("scikit-learn", "numpy", "onnxruntime", "skl2onnx", "skops")
POSITION_POINTS = 201
"""Points of the distribution of predictions: every half percent."""
STALE_S = 3_600  # a temporary folder of that age belongs to no running writer


@dataclass(frozen=True)
class Reference:
    """Rows that the model was not trained on, in the frame that it takes, and their labels if there are any.

    A label is a class of the model, or a number. For the positive class of two 1 will do as well, and 0 for the other.
    """

    frame: pd.DataFrame
    labels: NDArray[Any] | None = None


@dataclass(frozen=True)
class Scored:
    """The reference: its features in the schema's types, the model's outputs, and its labels if it has any."""

    frame: pd.DataFrame
    outputs: NDArray[np.float64]
    labels: list[Label] | None


@dataclass(frozen=True)
class Origin:
    """Where the model comes from, for its card. `rows` is the number of rows it was trained on.

    `target` is the target's name, unless a schema says it. Without `decision_threshold` that of the pipeline counts.
    """

    name: str = "model"
    target: str = "label"
    source: str = "a fitted pipeline"
    as_of: str | None = None
    rows: int | None = None
    seed: int | None = None
    decision_threshold: float | None = None
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def threshold(self) -> float:
        """The probability from which the positive class is predicted."""
        return DEFAULT_THRESHOLD if self.decision_threshold is None else self.decision_threshold


def bundle_pipeline(
    pipeline: Pipeline,
    reference: Reference,
    folder: Path,
    *,
    origin: Origin | None = None,
    positive: Value = None,
    schema: FeatureSchema | None = None,
    training: pd.DataFrame | None = None,
    layout: FrameLayout | None = None,
) -> Bundle:
    """Bundle a fitted scikit-learn pipeline with its reference; return the bundle as loaded from `folder`.

    The pipeline is a regressor, or a classifier with `predict_proba`. `positive` names the positive one of two classes
    if they are not 0 and 1, or False and True. Without `schema` the schema is inferred from the reference. `training`
    are the rows the pipeline was fitted on: their values count as seen, and the bundle must agree with the pipeline on
    them, too.

    The bundle answers as the pipeline: from requests it builds the frame that the pipeline takes, with the columns,
    types and missing values of `training`, or else of the reference. Where those rows differ from the user's own by
    more than 1e-5 (for numbers, of the standard deviation of the predictions), the bundle is rejected. If ONNX cannot
    express the pipeline, or differs by more than that on a row, scikit-learn scores, and the card says why. With
    `layout` the rows are values of the schema in any types, and the pipeline takes frames of that layout.

    A bundle that exists in `folder` is replaced in one step.

    >>> from tempfile import TemporaryDirectory
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> frame = pd.DataFrame({"age": range(20, 60), "income": range(80, 40, -1)})
    >>> columns = make_column_transformer((StandardScaler(), ["age", "income"]))
    >>> pipeline = make_pipeline(columns, LogisticRegression()).fit(frame, frame["age"] > 40)
    >>> with TemporaryDirectory() as folder:
    ...     bundle = bundle_pipeline(pipeline, Reference(frame), Path(folder) / "bundle", origin=Origin("loans"))
    >>> bundle.name, bundle.schema.names, bundle.card.scorer
    ('loans', ('age', 'income'), 'onnx')
    >>> bundle.score([{"age": 25, "income": 75}, {"age": 55, "income": 45}]) >= bundle.card.decision_threshold
    array([False,  True])

    Raises:
        leeway.data.csv_table.TableError: no schema is given and none can be inferred.
        leeway.model.manifest.BundleError: the pipeline is none of these, cannot be stored without pickle, does
            not fit its reference, or is surely worse than chance on it; the bundle would answer differently; or the
            folder contains anything else or cannot be written.
    """
    origin = origin or Origin()
    _check_origin_and_rows(origin, reference)
    target = target_of(pipeline, schema.target if schema else Target(origin.target), positive)
    if origin.decision_threshold is None:
        origin = replace(origin, decision_threshold=threshold_of(pipeline, reference.frame, target))
    labels = None if reference.labels is None else labels_of(reference.labels, len(reference.frame), target)
    frames = [reference.frame] if training is None else [reference.frame, training]
    schema = schema or infer_schema(pd.concat(frames, ignore_index=True))
    typed = [_typed(schema, frame) for frame in frames]
    schema = replace(_with_seen(schema, typed), target=target)
    model = SklearnScorer(pipeline, Encoder(schema), layout or FrameLayout.of(frames[::-1], schema))
    given = [None if layout else frame[list(model.layout.columns)] for frame in frames]
    rows = [compare(model, encode_frame(model.encoder, each), own) for each, own in zip(typed, given, strict=True)]
    scored = Scored(typed[0], rows[0].outputs, labels)
    _check_direction(scored, target)
    rows += compare_strange(model, rows[0].encoded)
    return _write(folder, origin, model, scored, rows)


def _write(folder: Path, origin: Origin, model: SklearnScorer, scored: Scored, rows: Sequence[Compared]) -> Bundle:
    schema = model.encoder.schema
    version = _version(origin, schema, scored)
    with replacing(folder) as new:
        write_pipeline(model.pipeline, new / manifest.PIPELINE)
        no_onnx = _write_onnx(model, rows, new / manifest.ONNX)
        card = make_card(origin, version, schema, scored, no_onnx)
        _write_reference(scored, card, new / manifest.REFERENCE)
        write_json(new / manifest.FRAME, model.layout)
        write_json(new / manifest.SCHEMA, schema)
        write_json(new / manifest.CARD, card)
        files = {path.name: sha256(path) for path in sorted(new.iterdir())}
        libraries = {name: library_version(name) for name in LIBRARIES}
        task = schema.target.task
        write_manifest(Manifest(card.name, version, schema.fingerprint, task, card.scorer, files, libraries), new)
    return bundles.load(folder)


def _check_origin_and_rows(origin: Origin, reference: Reference) -> None:
    if not 0 <= origin.threshold <= 1:
        raise BundleError(f"the decision threshold is {origin.threshold}; it must be from 0 to 1")
    if reference.frame.empty:
        raise BundleError("the reference has no rows")


def _check_direction(scored: Scored, target: Target) -> None:
    """Reject a model that is surely worse than chance: the wrong class is positive, or the labels are swapped."""
    if target.task != "binary" or scored.labels is None:
        return
    labels = [label == target.positive for label in scored.labels]
    area = roc_auc(labels, scored.outputs) if 0 < sum(labels) < len(labels) else None
    if area is not None and area.high < 0.5:  # noqa: PLR2004 (chance)
        raise BundleError(
            f"the positive class looks inverted: the ROC AUC on the reference is {area.value:.3f} (95 %:"
            f" {area.low:.3f} to {area.high:.3f}), worse than chance. Scores are probabilities of {target.positive!r}:"
            " name the other class as positive, or correct the labels (1 is the positive class)"
        )


def _typed(schema: FeatureSchema, frame: pd.DataFrame) -> pd.DataFrame:
    try:
        return typed_frame(schema, frame)
    except KeyError as error:
        raise BundleError(f"column {error} of the schema is missing in the rows") from error
    except (TypeError, ValueError) as error:
        raise BundleError(f"the rows do not match the kinds of the schema's features: {error}") from error


def _with_seen(schema: FeatureSchema, typed: Sequence[pd.DataFrame]) -> FeatureSchema:
    """The schema with what these frames contain, the reference first."""
    known = pd.concat(typed, ignore_index=True)
    return schema.with_seen({each.name: _seen(each, typed[0], known) for each in schema})


def _seen(feature: Feature, reference: pd.DataFrame, known: pd.DataFrame) -> Seen:
    """What `known`, all rows, contains of one feature; the usual range is the reference's."""
    present = known[feature.name].dropna()
    missing_share = float(known[feature.name].isna().mean())
    if feature.kind == "category":
        return Seen(categories=tuple(sorted(present.unique())), missing_share=missing_share)
    if present.empty:
        return Seen(missing_share=missing_share)
    numbers = present.astype("float64")
    if not np.isfinite(numbers).all():
        raise BundleError(f"column {feature.name!r} contains an infinite number")
    middle = reference[feature.name].dropna().astype("float64")
    low, high = np.quantile(middle if len(middle) else numbers, USUAL_QUANTILES)
    return Seen(float(numbers.min()), float(numbers.max()), float(low), float(high), missing_share=missing_share)


def _write_onnx(model: SklearnScorer, rows: Sequence[Compared], path: Path) -> str | None:
    """Write the ONNX model if it agrees with the pipeline on every row; else write nothing and return the reason."""
    try:
        path.write_bytes(agreeing_onnx(model, rows))
    except NotExpressible as error:
        return str(error)
    return None


def _write_reference(scored: Scored, card: Card, path: Path) -> None:
    answers = card.answers(scored.outputs)
    frame = scored.frame.assign(**{SCORE_COLUMN: answers.scores, PREDICTION_COLUMN: answers.predictions})
    if scored.labels is not None:
        frame[LABEL_COLUMN] = scored.labels
    frame.to_parquet(path, index=False)


def _version(origin: Origin, schema: FeatureSchema, scored: Scored) -> str:
    """The date of the data, if there is one, and eight hex digits of the schema, threshold, outputs and labels.

    The same data give the same version, whenever the model is trained.
    """
    hasher = hashlib.sha256(msgspec.json.encode((schema, origin.threshold, scored.labels)))
    hasher.update(np.round(scored.outputs, 6).tobytes())
    return "-".join(filter(None, (origin.as_of, hasher.hexdigest()[:8])))


def make_card(origin: Origin, version: str, schema: FeatureSchema, scored: Scored, no_onnx: str | None) -> Card:
    """The card; `no_onnx` is the reason why ONNX does not score."""
    labels, target = scored.labels, schema.target
    threshold = origin.threshold if target.task == "binary" else None
    answers = Answers.of(target, scored.outputs, origin.threshold)
    compared = answers.predictions if target.task == "multiclass" else answers.scores
    constant = {} if labels is None else baseline(target, labels)
    return Card(
        name=origin.name,
        version=version,
        made_at=origin.made_at.isoformat(timespec="seconds"),
        target=target,
        trained_on=TrainedOn(origin.source, origin.as_of, origin.rows, origin.seed),
        held_out=HeldOut.of(target, len(scored.frame), labels),
        figures=figures(target, labels, answers) if labels and constant else {},
        baseline=constant,
        decision_threshold=threshold,
        scorer="onnx" if no_onnx is None else "scikit-learn",
        scorer_reason=no_onnx,
        example={each.name: _typical(each, scored.frame[each.name]) for each in schema},
        score_reference=_score_reference(target, answers),
        drift=DriftPlan.from_reference(schema, scored.frame, np.array(compared)),
    )


def _score_reference(target: Target, answers: Answers) -> ScoreReference:
    scores: Sequence[float] = answers.scores
    if target.task != "regression":
        outcomes = label_shares(target, answers.predictions)
        return ScoreReference(SCORE_BUCKETS, cumulative_shares(scores, SCORE_BUCKETS), outcomes=outcomes)
    positions = Distribution.of(scores, POSITION_POINTS)
    shares = cumulative_shares([positions.position(each) for each in scores], SCORE_BUCKETS)
    return ScoreReference(SCORE_BUCKETS, shares, positions)


def _typical(feature: Feature, values: pd.Series[Any]) -> Value:
    """A usual value for the API's example that does not disclose a row: the median, or the most frequent."""
    present = values.dropna()
    if present.empty:
        return None
    low, high = usual_range(feature.seen)
    if feature.kind == "number":
        median = float(present.median())
        rounded = float(f"{median:.4g}")
        return rounded if low <= rounded <= high else median
    if feature.kind == "integer":
        return int(present.median())
    common = present.mode().iloc[0]
    return bool(common) if feature.kind == "flag" else str(common)


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a new, temporary folder that replaces `folder` at the end; after an error `folder` is unchanged.

    Raises:
        BundleError: `folder` contains anything but a bundle, or cannot be written.
    """
    place = folder.resolve()
    require_replaceable(folder)
    prefix = f".{place.name}.new-"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(place.parent, prefix)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=place.parent) as temporary:
            new = Path(temporary) / "new"
            new.mkdir()
            yield new
            _swap(new, place, Path(temporary) / "old")
    except OSError as error:
        raise BundleError(f"{folder} cannot be written: {error.strerror or error}") from error


def require_replaceable(folder: Path) -> None:
    """Check that `folder` does not exist, is empty or contains a bundle: anything else must not be replaced.

    Raises:
        BundleError: it contains anything else.
    """
    if not folder.exists():
        return
    ours = manifest.SCORERS["onnx"] | {manifest.MANIFEST}
    names = [path.name for path in sorted(folder.iterdir())] if folder.is_dir() else ["a file"]
    if others := [name for name in names if name not in ours]:
        raise BundleError(f"{folder} contains more than a bundle ({others[0]}): name another folder, or empty this one")


def _sweep(parent: Path, prefix: str) -> None:
    """Remove the temporary folders of writers that were killed over an hour ago."""
    for left in parent.glob(f"{prefix}*"):
        if time.time() - left.stat().st_mtime > STALE_S:
            shutil.rmtree(left, ignore_errors=True)


def _swap(new: Path, folder: Path, old: Path) -> None:
    """Replace `folder` by `new` with two renames, so that a reader finds a whole bundle or none."""
    try:
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
