"""Write a bundle: model, schema, reference, card and manifest. The folder is replaced as a whole."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
import warnings
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
from leeway.model import manifest as layout
from leeway.model.bundle import Bundle
from leeway.model.card import Card, HeldOut, ScoreReference, TrainedOn
from leeway.model.distances import cumulative_shares
from leeway.model.drift_plan import DriftPlan
from leeway.model.encoding import USUAL_QUANTILES, Encoded, Encoder, usual_range
from leeway.model.manifest import BundleError, Manifest, sha256, write_json, write_manifest
from leeway.model.onnx import OnnxScorer, to_onnx
from leeway.model.performance import brier, roc_auc
from leeway.model.sklearn import encode_frame, model_frame, predict, write_pipeline
from leeway.schema import LABEL_COLUMN, SCORE_COLUMN, Feature, FeatureSchema, Seen, Value
from leeway.telemetry.names import SCORE_BUCKETS

AGREEMENT = 1e-5
"""Largest difference between ONNX and scikit-learn on any row."""
LIBRARIES = ("scikit-learn", "numpy", "onnxruntime", "skl2onnx", "skops")
NEVER_SEEN = "\N{REPLACEMENT CHARACTER} never seen"
STALE_S = 3_600  # a temporary folder of that age belongs to no running writer


@dataclass(frozen=True)
class Reference:
    """Rows that the model was not trained on, and their labels (0 or 1) if there are any."""

    frame: pd.DataFrame
    labels: NDArray[np.int64] | None = None


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
    schema: FeatureSchema | None = None,
    training: pd.DataFrame | None = None,
) -> Bundle:
    """Bundle a fitted scikit-learn classifier with its reference; return the bundle as loaded from `folder`.

    The pipeline takes the frame of `leeway.model.encoding` and has `predict_proba` with two classes. Without `schema`
    the schema is inferred from the reference. `training` are the rows the pipeline was fitted on: their values count as
    seen, and ONNX must agree with scikit-learn on them too. If ONNX cannot express the pipeline, or differs by more
    than 1e-5 on a row, scikit-learn scores, and the card says why. A bundle that exists in `folder` is replaced in one
    step.

    >>> from tempfile import TemporaryDirectory
    >>> from sklearn.compose import make_column_transformer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> frame = pd.DataFrame({"age": range(20, 60), "income": range(80, 40, -1)})
    >>> columns = make_column_transformer((StandardScaler(), ["age", "income"]))
    >>> pipeline = make_pipeline(columns, LogisticRegression()).fit(frame.astype("float32"), frame["age"] > 40)
    >>> with TemporaryDirectory() as folder:
    ...     bundle = bundle_pipeline(pipeline, Reference(frame), Path(folder) / "bundle", origin=Origin("loans"))
    >>> bundle.name, bundle.schema.names, bundle.card.scorer
    ('loans', ('age', 'income'), 'onnx')
    >>> bundle.score([{"age": 25, "income": 75}, {"age": 55, "income": 45}]) >= bundle.card.decision_threshold
    array([False,  True])

    Raises:
        leeway.data.csv_table.TableError: no schema is given and none can be inferred.
        leeway.model.manifest.BundleError: the pipeline is no such classifier, cannot be stored without pickle, or does
            not fit its reference; or the folder contains anything else or cannot be written.
    """
    origin = origin or Origin()
    _check_origin_and_labels(origin, reference)
    known = reference.frame if training is None else pd.concat([reference.frame, training], ignore_index=True)
    schema = schema or infer_schema(known)
    reference, known = replace(reference, frame=_typed(schema, reference.frame)), _typed(schema, known)
    schema = schema.with_seen({each.name: _seen(each, reference.frame, known) for each in schema})
    encoder = Encoder(schema)
    scores = _reference_scores(pipeline, model_frame(encoder, encode_frame(encoder, reference.frame)))
    compared = _rows_to_compare(pipeline, encoder, encode_frame(encoder, known))
    version = _version(origin, schema, reference, scores)
    with replacing(folder) as new:
        write_pipeline(pipeline, new / layout.PIPELINE)
        no_onnx = _write_onnx(pipeline, encoder, compared, new / layout.ONNX)
        _write_reference(reference, scores, new / layout.REFERENCE)
        write_json(new / layout.SCHEMA, schema)
        card = make_card(origin, version, schema, reference, scores, no_onnx)
        write_json(new / layout.CARD, card)
        files = {path.name: sha256(path) for path in sorted(new.iterdir())}
        libraries = {name: library_version(name) for name in LIBRARIES}
        write_manifest(Manifest(card.name, version, schema.fingerprint, card.scorer, files, libraries), new)
    return bundles.load(folder)


def _check_origin_and_labels(origin: Origin, reference: Reference) -> None:
    if not 0 <= origin.decision_threshold <= 1:
        raise BundleError(f"the decision threshold is {origin.decision_threshold}; it must be from 0 to 1")
    if reference.frame.empty:
        raise BundleError("the reference has no rows")
    labels = reference.labels
    if labels is not None and (len(labels) != len(reference.frame) or not np.isin(labels, (0, 1)).all()):
        raise BundleError("the reference's labels must be 0 or 1, one for each of its rows")


def _typed(schema: FeatureSchema, frame: pd.DataFrame) -> pd.DataFrame:
    try:
        return typed_frame(schema, {name: frame[name].tolist() for name in schema.names})
    except KeyError as error:
        raise BundleError(f"column {error} of the schema is missing in the rows") from error
    except (TypeError, ValueError) as error:
        raise BundleError(f"the rows do not match the kinds of the schema's features: {error}") from error


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


def _reference_scores(pipeline: Pipeline, frame: pd.DataFrame) -> NDArray[np.float64]:
    classes = getattr(pipeline, "classes_", None)
    if not hasattr(pipeline, "predict_proba") or classes is None or len(classes) != 2:  # noqa: PLR2004 (two classes)
        raise BundleError("the pipeline must be a fitted classifier of two classes with predict_proba")
    try:
        scores = predict(pipeline, frame)
    except Exception as error:
        raise BundleError(
            "the pipeline cannot score its reference. It must take one column per feature: numbers and flags as 32-bit"
            f" floats with NaN if missing, text with '' if missing; fit it on such a frame. ({error})"
        ) from error
    if not ((scores >= 0) & (scores <= 1)).all():
        raise BundleError("the pipeline's probabilities are not between 0 and 1")
    return scores


def _rows_to_compare(pipeline: Pipeline, encoder: Encoder, known: Encoded) -> list[Encoded]:
    """All known rows, and strange ones if the pipeline takes them."""
    strange = _strange_rows(encoder, known)
    try:
        predict(pipeline, model_frame(encoder, strange))
    except ValueError as error:
        warnings.warn(
            f"the pipeline rejects values that it has not seen, and so will the service: {error}", stacklevel=3
        )
        return [known]
    return [known, strange]


def _strange_rows(encoder: Encoder, rows: Encoded) -> Encoded:
    """Copies of the first row, each with one category that is unseen or missing, or one number that is missing."""
    numbers, texts = [rows.numbers[0]], [{name: column[0] for name, column in rows.texts.items()}]
    for feature in encoder.schema:
        if feature.kind == "category":
            strange = [NEVER_SEEN, ""] if feature.nullable else [NEVER_SEEN]
            numbers += [numbers[0]] * len(strange)
            texts += [{**texts[0], feature.name: text} for text in strange]
        elif feature.nullable:
            row = rows.numbers[0].copy()
            row[encoder.number_names.index(feature.name)] = np.nan
            numbers.append(row)
            texts.append(texts[0])
    return Encoded(np.stack(numbers), {name: [row[name] for row in texts] for name in encoder.text_names})


def _write_onnx(pipeline: Pipeline, encoder: Encoder, compared: Sequence[Encoded], path: Path) -> str | None:
    """Write the ONNX model if it agrees with the pipeline on every row; else write nothing and return the reason."""
    try:
        model = to_onnx(pipeline, encoder)
        onnx = OnnxScorer(model, encoder)
        apart = max(np.abs(onnx.score(rows) - predict(pipeline, model_frame(encoder, rows))).max() for rows in compared)
    except Exception as error:  # noqa: BLE001 (converter and runtime raise anything; the card names it)
        return f"ONNX cannot express the pipeline: {error}"
    if not apart <= AGREEMENT:  # NaN is no agreement
        return f"ONNX and scikit-learn differ by {apart:.2g} on a row, more than {AGREEMENT:g}"
    path.write_bytes(model)
    return None


def _write_reference(reference: Reference, scores: NDArray[np.float64], path: Path) -> None:
    frame = reference.frame.assign(**{SCORE_COLUMN: scores})
    if reference.labels is not None:
        frame[LABEL_COLUMN] = np.asarray(reference.labels, dtype=np.int64)
    frame.to_parquet(path, index=False)


def _version(origin: Origin, schema: FeatureSchema, reference: Reference, scores: NDArray[np.float64]) -> str:
    """The date of the data, if there is one, and eight hex digits of the schema, threshold, scores and labels.

    The same data give the same version, whenever the model is trained.
    """
    hasher = hashlib.sha256(msgspec.json.encode((schema, origin.decision_threshold)))
    hasher.update(np.round(scores, 6).tobytes())
    if reference.labels is not None:
        hasher.update(np.asarray(reference.labels, dtype=np.int64).tobytes())
    return "-".join(filter(None, (origin.as_of, hasher.hexdigest()[:8])))


def make_card(
    origin: Origin,
    version: str,
    schema: FeatureSchema,
    reference: Reference,
    scores: NDArray[np.float64],
    no_onnx: str | None,
) -> Card:
    """The card; `scores` are the reference's, `no_onnx` is the reason why ONNX does not score."""
    labels = reference.labels
    judged = labels if labels is not None and len(np.unique(labels)) == 2 else None  # noqa: PLR2004 (both classes)
    return Card(
        name=origin.name,
        version=version,
        made_at=origin.made_at.isoformat(timespec="seconds"),
        target=origin.target,
        trained_on=TrainedOn(origin.source, origin.as_of, origin.rows, origin.seed),
        held_out=HeldOut(len(scores), None if labels is None else float(np.mean(labels))),
        roc_auc=None if judged is None else roc_auc(judged, scores),
        brier=None if judged is None else brier(judged, scores),
        decision_threshold=origin.decision_threshold,
        scorer="onnx" if no_onnx is None else "scikit-learn",
        scorer_reason=no_onnx,
        example={each.name: _typical(each, reference.frame[each.name]) for each in schema},
        score_reference=ScoreReference(SCORE_BUCKETS, cumulative_shares(scores, SCORE_BUCKETS)),
        drift=DriftPlan.from_reference(schema, reference.frame, scores),
    )


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
    ours = layout.SCORERS["onnx"] | {layout.MANIFEST}
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
