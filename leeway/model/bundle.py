"""The model bundle: load it, verify it, score with it. No HTTP, no SQL, no telemetry; nothing is ever unpickled.

A bundle is a folder: `manifest.json`, `schema.json`, `card.json`, `reference.parquet`, `pipeline.skops`, `frame.json`,
and `model.onnx` if ONNX can express the pipeline. `leeway.model.writer` writes it; `leeway.model.manifest` says what is
verified, and draws the tree of errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from leeway.model.card import Card
from leeway.model.drift_plan import Values, list_values
from leeway.model.encoding import Encoded, Encoder
from leeway.model.manifest import (
    CARD,
    ONNX,
    REFERENCE,
    SCHEMA,
    BundleDamaged,
    BundleError,
    BundleSchemaMismatch,
    Manifest,
    read_json,
    read_manifest,
)
from leeway.schema import FeatureSchema

if TYPE_CHECKING:
    import pandas as pd


class Scorer(Protocol):
    """Turns encoded rows into the outputs of a model."""

    def score(self, encoded: Encoded) -> NDArray[np.float64]:
        """For each of n rows the probability of the positive class, or a number, shape (n,).

        Of a model with k > 2 classes the probabilities of all classes in the target's order, shape (n, k).
        """
        ...


@dataclass(frozen=True)
class Bundle:
    """A verified bundle."""

    folder: Path
    name: str
    version: str
    schema: FeatureSchema
    card: Card
    encoder: Encoder
    scorer: Scorer

    def score(self, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """The outputs for n valid rows, see `Scorer`."""
        return self.scorer.score(self.encoder.encode([self.schema.row(row) for row in rows]))

    def reference(self) -> pd.DataFrame:
        """The held-out rows: the features, `_score`, `_prediction`, and `_label` if there are labels.

        Needs pandas and pyarrow.
        """
        import pandas as pd  # noqa: PLC0415 (the API process does without pandas)

        return pd.read_parquet(self.folder / REFERENCE)

    def reference_values(self) -> dict[str, Values]:
        """The same features without a frame, and `_score`, or `_prediction` of a multiclass model.

        Needs pyarrow, and not pandas, which `read_table` imports.
        """
        import pyarrow.parquet as pq  # noqa: PLC0415 (the API process does without pyarrow)

        with pq.ParquetFile(self.folder / REFERENCE) as file:
            table = file.read()
        kinds = {each.name: each.kind for each in self.schema}
        kinds[self.schema.target.compared_column] = self.schema.target.compared_kind
        return {name: list_values(table[name].to_pylist(), kind) for name, kind in kinds.items()}


def load(folder: Path, *, lazy_scorer: bool = False) -> Bundle:
    """Load and verify the bundle in `folder`, and score the card's example with it.

    With `lazy_scorer` the model is loaded at its first score: a process that never scores needs 60 MiB less.

    >>> from tempfile import TemporaryDirectory
    >>> import pandas as pd
    >>> from sklearn.linear_model import LogisticRegression
    >>> from leeway.model.writer import Reference, bundle_pipeline
    >>> frame = pd.DataFrame({"age": range(20, 60)})
    >>> pipeline = LogisticRegression().fit(frame, frame["age"] > 40)
    >>> with TemporaryDirectory() as folder:
    ...     version = bundle_pipeline(pipeline, Reference(frame), Path(folder) / "bundle").version
    ...     bundle = load(Path(folder) / "bundle")
    >>> bundle.version == version
    True
    >>> bundle.score([{"age": 25}, {"age": 55}]).round(1)
    array([0., 1.])

    Raises:
        BundleError: one of its kinds, see the head of `leeway.model.manifest`.
    """
    manifest = read_manifest(folder)
    schema = read_json(folder / SCHEMA, FeatureSchema)
    if schema.fingerprint != manifest.schema_fingerprint:
        raise BundleSchemaMismatch(
            f"{folder}: the manifest is for schema {manifest.schema_fingerprint}, but schema.json is"
            f" {schema.fingerprint}; train again"
        )
    encoder, card = Encoder(schema), _read_card(folder / CARD, manifest, schema)
    bundle = Bundle(
        folder=folder,
        name=manifest.name,
        version=manifest.version,
        schema=schema,
        card=card,
        encoder=encoder,
        scorer=_LazyScorer(folder, card, encoder) if lazy_scorer else _scorer(folder, card, encoder),
    )
    if not lazy_scorer:
        _score_example(bundle)
    return bundle


class _LazyScorer:
    """Loads the model at its first score."""

    def __init__(self, folder: Path, card: Card, encoder: Encoder) -> None:
        self._load = partial(_scorer, folder, card, encoder)

    @cached_property
    def _scorer(self) -> Scorer:
        return self._load()

    def score(self, encoded: Encoded) -> NDArray[np.float64]:
        return self._scorer.score(encoded)


def _read_card(path: Path, manifest: Manifest, schema: FeatureSchema) -> Card:
    """The card, if it belongs to this manifest and schema."""
    card = read_json(path, Card)
    if problems := schema.problems(card.example):
        raise BundleDamaged(f"{path}: the example is not valid: {problems}; train again")
    ours = (card.name, card.version, card.scorer, card.target, card.target.task)
    if ours != (manifest.name, manifest.version, manifest.scorer, schema.target, manifest.task) or any(
        tuple(names) != schema.names for names in (card.drift.features, card.example)
    ):
        raise BundleSchemaMismatch(f"{path} is the card of another model; train again")
    return card


def _scorer(folder: Path, card: Card, encoder: Encoder) -> Scorer:
    if card.scorer == "onnx":
        from leeway.model.onnx import OnnxScorer  # noqa: PLC0415 (a process that never scores does without)

        path = folder / ONNX
        try:
            return OnnxScorer(path.read_bytes(), encoder)
        except BundleError as error:
            raise type(error)(f"{path}: {error}; train again") from error
    from leeway.model.sklearn import read_scorer  # noqa: PLC0415 (only a bundle without ONNX needs scikit-learn)

    return read_scorer(folder, encoder)


def _score_example(bundle: Bundle) -> None:
    """Score the card's example, so that a broken model is found now, and the first request finds a warm one."""
    try:
        (output,) = bundle.score([bundle.card.example])
    except Exception as error:
        raise BundleSchemaMismatch(f"{bundle.folder}: the model cannot score the card's example: {error}") from error
    target = bundle.schema.target
    expected = (len(target.classes),) if target.task == "multiclass" else ()
    if output.shape != expected:
        raise BundleSchemaMismatch(
            f"{bundle.folder}: the model answers with {output.size} values, but it has {len(target.classes)} classes;"
            " train again"
        )
    valid = np.isfinite(output) if target.task == "regression" else (output >= 0) & (output <= 1)
    if not valid.all():
        raise BundleSchemaMismatch(f"{bundle.folder}: the model scores the card's example {output}; train again")
