"""Write a bundle: model, schema, reference, card and manifest. The folder is replaced as a whole."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from leeway.model.bundle import Bundle
from leeway.model.card import Baseline, Card, HeldOut, ScoreReference, TrainedOn
from leeway.model.conversion import NotExpressible
from leeway.model.distances import cumulative_shares
from leeway.model.drift_plan import DriftPlan
from leeway.model.encoding import USUAL_QUANTILES, Encoder, usual_range
from leeway.model.frame import FrameLayout
from leeway.model.manifest import BundleError, Manifest, sha256, write_json, write_manifest
from leeway.model.performance import brier, log_loss, roc_auc
from leeway.model.sklearn import SklearnScorer, encode_frame, write_pipeline
from leeway.schema import LABEL_COLUMN, SCORE_COLUMN, Feature, FeatureSchema, Seen, Value
from leeway.telemetry.names import SCORE_BUCKETS

LIBRARIES = ("scikit-learn", "numpy", "onnxruntime", "skl2onnx", "skops")
STALE_S = 3_600  # a temporary folder of that age belongs to no running writer


@dataclass(frozen=True)
class Reference:
    """Rows that the model was not trained on, in the frame that it takes, and their labels if there are any.

    A label is a class of the model; 1 for its positive class and 0 for the other one will do as well.
    """

    frame: pd.DataFrame
    labels: NDArray[Any] | None = None


@dataclass(frozen=True)
class Classes:
    """The two classes in the model's order, and the positive one, whose probability is served."""

    names: tuple[Value, Value]
    positive: Value

    @property
    def column(self) -> int:
        """The column of the positive class in the model's probabilities."""
        return self.names.index(self.positive)


@dataclass(frozen=True)
class Scored:
    """The reference: its features in the schema's types, the model's scores, and labels (1 is positive) if any."""

    frame: pd.DataFrame
    scores: NDArray[np.float64]
    labels: NDArray[np.int64] | None


@dataclass(frozen=True)
class Origin:
    """Where the model comes from, for its card. `rows` is the number of rows it was trained on."""

    name: str = "model"
    target: str = "label"
    source: str = "a fitted pipeline"
    as_of: str | None = None
    rows: int | None = None
    seed: int | None = None
    decision_threshold: float = 0.5
    made_at: datetime = field(default_factory=lambda: datetime.now(UTC))


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
    """Bundle a fitted scikit-learn classifier with its reference; return the bundle as loaded from `folder`.

    The pipeline has `predict_proba` with two classes; `positive` names the positive one if they are not 0 and 1, or
    False and True. Without `schema` the schema is inferred from the reference. `training` are the rows the pipeline was
    fitted on: their values count as seen, and the bundle must agree with the pipeline on them, too.

    The bundle answers as the pipeline: from requests it builds the frame that the pipeline takes, with the columns,
    types and missing values of `training`, or else of the reference. Where those rows differ from the user's own by
    more than 1e-5, the bundle is rejected. If ONNX cannot express the pipeline, or differs by more than that on a row,
    scikit-learn scores, and the card says why. With `layout` the rows are values of the schema in any types, and the
    pipeline takes frames of that layout.

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
        leeway.model.manifest.BundleError: the pipeline is not such a classifier, cannot be stored without pickle, does
            not fit its reference, or is surely worse than chance on it; the bundle would answer differently; or the
            folder contains anything else or cannot be written.
    """
    origin = origin or Origin()
    _check_origin_and_rows(origin, reference)
    classes = _classes(pipeline, positive)
    labels = _labels(reference, classes)
    frames = [reference.frame] if training is None else [reference.frame, training]
    schema = schema or infer_schema(pd.concat(frames, ignore_index=True))
    typed = [_typed(schema, frame) for frame in frames]
    schema = _with_seen(schema, typed)
    model = SklearnScorer(pipeline, Encoder(schema), layout or FrameLayout.of(frames[::-1], schema), classes.column)
    given = [None if layout else frame[list(model.layout.columns)] for frame in frames]
    rows = [compare(model, encode_frame(model.encoder, each), own) for each, own in zip(typed, given, strict=True)]
    scored = Scored(typed[0], rows[0].scores, labels)
    _check_direction(scored, classes)
    rows += compare_strange(model, rows[0].encoded)
    return _write(folder, origin, model, classes, scored, rows)


def _write(
    folder: Path, origin: Origin, model: SklearnScorer, classes: Classes, scored: Scored, rows: Sequence[Compared]
) -> Bundle:
    schema = model.encoder.schema
    version = _version(origin, schema, scored)
    with replacing(folder) as new:
        write_pipeline(model.pipeline, new / manifest.PIPELINE)
        no_onnx = _write_onnx(model, rows, new / manifest.ONNX)
        _write_reference(scored, new / manifest.REFERENCE)
        write_json(new / manifest.FRAME, model.layout)
        write_json(new / manifest.SCHEMA, schema)
        card = make_card(origin, version, schema, classes, scored, no_onnx)
        write_json(new / manifest.CARD, card)
        files = {path.name: sha256(path) for path in sorted(new.iterdir())}
        libraries = {name: library_version(name) for name in LIBRARIES}
        write_manifest(Manifest(card.name, version, schema.fingerprint, card.scorer, files, libraries), new)
    return bundles.load(folder)


def _check_origin_and_rows(origin: Origin, reference: Reference) -> None:
    if not 0 <= origin.decision_threshold <= 1:
        raise BundleError(f"the decision threshold is {origin.decision_threshold}; it must be from 0 to 1")
    if reference.frame.empty:
        raise BundleError("the reference has no rows")


def _classes(pipeline: Pipeline, positive: Value) -> Classes:
    """The classes of a fitted pipeline; without `positive` they must be 0 and 1, or False and True."""
    found = getattr(pipeline, "classes_", None)
    if not hasattr(pipeline, "predict_proba") or found is None or len(found) != 2:  # noqa: PLR2004 (two classes)
        raise BundleError(
            "the pipeline must be a fitted classifier of two classes with predict_proba. CalibratedClassifierCV adds"
            " predict_proba to a classifier without it"
        )
    first, second = np.asarray(found).tolist()
    if positive is None and (first, second) != (0, 1):  # False and True are equal to these
        raise BundleError(
            f"the classes are {first!r} and {second!r}: name the one whose probability is served, positive={first!r} or"
            f" positive={second!r}"
        )
    if positive is not None and positive not in (first, second):
        raise BundleError(
            f"positive={positive!r} is not a class of the pipeline; its classes are {first!r}, {second!r}"
        )
    return Classes((first, second), first if positive == first else second)


def _labels(reference: Reference, classes: Classes) -> NDArray[np.int64] | None:
    """The labels of the reference, 1 for the positive class and 0 for the other."""
    if reference.labels is None:
        return None
    labels = np.asarray(reference.labels)
    found = set(labels.tolist()) if labels.shape == (len(reference.frame),) else {None}
    for known, positive in ((classes.names, classes.positive), ((0, 1), 1)):
        if found <= set(known):
            return np.asarray(labels == positive, dtype=np.int64)
    raise BundleError(
        f"the reference's labels must be 0 or 1, or the classes {classes.names[0]!r} and {classes.names[1]!r} of the"
        " pipeline, one for each of its rows"
    )


def _check_direction(scored: Scored, classes: Classes) -> None:
    """Reject a model that is surely worse than chance: the wrong class is positive, or the labels are swapped."""
    if scored.labels is None or len(np.unique(scored.labels)) < 2:  # noqa: PLR2004 (both classes)
        return
    area = roc_auc(scored.labels, scored.scores)
    if area.high < 0.5:  # noqa: PLR2004 (chance)
        raise BundleError(
            f"the positive class looks inverted: the ROC AUC on the reference is {area.value:.3f} (95 %:"
            f" {area.low:.3f} to {area.high:.3f}), worse than chance. Scores are probabilities of {classes.positive!r}:"
            " name the other class as positive, or correct the labels (1 is the positive class)"
        )


def _typed(schema: FeatureSchema, frame: pd.DataFrame) -> pd.DataFrame:
    try:
        return typed_frame(schema, {name: frame[name].tolist() for name in schema.names})
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


def _write_reference(scored: Scored, path: Path) -> None:
    frame = scored.frame.assign(**{SCORE_COLUMN: scored.scores})
    if scored.labels is not None:
        frame[LABEL_COLUMN] = scored.labels
    frame.to_parquet(path, index=False)


def _version(origin: Origin, schema: FeatureSchema, scored: Scored) -> str:
    """The date of the data, if there is one, and eight hex digits of the schema, threshold, scores and labels.

    The same data give the same version, whenever the model is trained.
    """
    hasher = hashlib.sha256(msgspec.json.encode((schema, origin.decision_threshold)))
    hasher.update(np.round(scored.scores, 6).tobytes())
    if scored.labels is not None:
        hasher.update(scored.labels.tobytes())
    return "-".join(filter(None, (origin.as_of, hasher.hexdigest()[:8])))


def make_card(
    origin: Origin, version: str, schema: FeatureSchema, classes: Classes, scored: Scored, no_onnx: str | None
) -> Card:
    """The card; `no_onnx` is the reason why ONNX does not score."""
    labels, scores = scored.labels, scored.scores
    judged = labels if labels is not None and len(np.unique(labels)) == 2 else None  # noqa: PLR2004 (both classes)
    return Card(
        name=origin.name,
        version=version,
        made_at=origin.made_at.isoformat(timespec="seconds"),
        target=origin.target,
        classes=classes.names,
        positive=classes.positive,
        trained_on=TrainedOn(origin.source, origin.as_of, origin.rows, origin.seed),
        held_out=HeldOut(len(scores), None if labels is None else float(np.mean(labels))),
        roc_auc=None if judged is None else roc_auc(judged, scores),
        brier=None if judged is None else brier(judged, scores),
        log_loss=None if judged is None else log_loss(judged, scores),
        baseline=None if judged is None else _baseline(judged),
        decision_threshold=origin.decision_threshold,
        scorer="onnx" if no_onnx is None else "scikit-learn",
        scorer_reason=no_onnx,
        example={each.name: _typical(each, scored.frame[each.name]) for each in schema},
        score_reference=ScoreReference(SCORE_BUCKETS, cumulative_shares(scores, SCORE_BUCKETS)),
        drift=DriftPlan.from_reference(schema, scored.frame, scores),
    )


def _baseline(labels: NDArray[np.int64]) -> Baseline:
    constant = np.full(len(labels), labels.mean())
    return Baseline(*(figure(labels, constant).value for figure in (roc_auc, brier, log_loss)))


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
