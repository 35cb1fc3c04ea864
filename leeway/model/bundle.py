"""The model bundle: load it, verify it, score with it. No HTTP, no SQL, no telemetry; nothing is ever unpickled.

A bundle is a folder: `manifest.json`, `schema.json`, `card.json`, `reference.parquet`, `pipeline.skops`, and
`model.onnx` where ONNX can express the pipeline. `leeway.model.writer` writes it; `leeway.model.manifest` says what is
verified, and draws the tree of errors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from leeway.model.card import Card
from leeway.model.encoding import Encoded, Encoder
from leeway.model.manifest import (
    CARD,
    ONNX,
    PIPELINE,
    REFERENCE,
    SCHEMA,
    BundleDamaged,
    BundleError,
    BundleMissing,
    BundleSchemaMismatch,
    BundleVersionUnknown,
    Manifest,
    read_json,
    read_manifest,
)
from leeway.schema import LABEL_COLUMN, SCORE_COLUMN, FeatureSchema

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it reports to its maker from its import on, unless told before
import onnxruntime

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "LABEL_COLUMN",
    "SCORE_COLUMN",
    "Bundle",
    "BundleDamaged",
    "BundleError",
    "BundleMissing",
    "BundleSchemaMismatch",
    "BundleVersionUnknown",
    "OnnxScorer",
    "Scorer",
    "load",
]


class Scorer(Protocol):
    """Turns encoded rows into probabilities."""

    def score(self, encoded: Encoded) -> NDArray[np.float64]:
        """The probability of the positive class for each of n rows, shape (n,)."""
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

    @property
    def decision_threshold(self) -> float:
        """The probability from which on the prediction is 1."""
        return self.card.decision_threshold

    def score(self, rows: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
        """The probabilities of n valid rows, shape (n,)."""
        return self.scorer.score(self.encoder.encode([self.schema.row(row) for row in rows]))

    def reference(self) -> pd.DataFrame:
        """The held-out rows: the features, `_score`, and `_label` where labels were there. Needs pandas and pyarrow."""
        import pandas as pd  # noqa: PLC0415 (the API process holds no pandas)

        return pd.read_parquet(self.folder / REFERENCE)


class OnnxScorer:
    """ONNX Runtime, one thread in and one between: a request is small, and requests share the cores.

    Raises:
        BundleDamaged: ONNX Runtime cannot load the model.
        BundleSchemaMismatch: its inputs or outputs are not those of the schema.
    """

    def __init__(self, model: bytes, encoder: Encoder) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what goes wrong is raised, and said once
        self._encoder = encoder
        try:
            self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise BundleDamaged(f"ONNX Runtime cannot load the model: {error}") from error
        inputs = {(each.name, each.type) for each in self._session.get_inputs()}
        needed = {
            (each.name, "tensor(string)" if each.kind == "category" else "tensor(float)") for each in encoder.schema
        }
        if inputs != needed:
            odd = ", ".join(sorted({name for name, _ in inputs ^ needed}))
            raise BundleSchemaMismatch(f"the model and schema.json differ in: {odd}")
        if "probabilities" not in {each.name for each in self._session.get_outputs()}:
            raise BundleSchemaMismatch("the model has no output `probabilities`")

    def score(self, encoded: Encoded) -> NDArray[np.float64]:
        """See `Scorer`."""
        (probabilities,) = self._session.run(["probabilities"], self._encoder.onnx_feed(encoded))
        # Sums of 32-bit floats go a hair beyond 1.
        return np.asarray(probabilities[:, 1], dtype=np.float64).clip(0.0, 1.0)


def load(folder: Path) -> Bundle:
    """Load and verify the bundle in `folder`, and score the card's example with it.

    Raises:
        BundleError: one of its kinds, see the head of `leeway.model.manifest`.
    """
    manifest = read_manifest(folder)
    schema = read_json(folder / SCHEMA, FeatureSchema)
    if schema.fingerprint != manifest.schema_fingerprint:
        raise BundleSchemaMismatch(
            f"{folder}: the manifest is for schema {manifest.schema_fingerprint}, schema.json is"
            f" {schema.fingerprint}; train again"
        )
    encoder = Encoder(schema)
    bundle = Bundle(
        folder=folder,
        name=manifest.name,
        version=manifest.version,
        schema=schema,
        card=_read_card(folder / CARD, manifest, schema),
        encoder=encoder,
        scorer=_scorer(folder, manifest, encoder),
    )
    _try_out(bundle)
    return bundle


def _read_card(path: Path, manifest: Manifest, schema: FeatureSchema) -> Card:
    """The card, if it belongs to this manifest and schema."""
    card = read_json(path, Card)
    if problems := schema.problems(card.example):
        raise BundleDamaged(f"{path}: the example is not valid: {problems}; train again")
    if (card.name, card.version, card.scorer) != (manifest.name, manifest.version, manifest.scorer) or any(
        tuple(names) != schema.names for names in (card.drift.features, card.example)
    ):
        raise BundleSchemaMismatch(f"{path} is the card of another model; train again")
    return card


def _scorer(folder: Path, manifest: Manifest, encoder: Encoder) -> Scorer:
    if manifest.scorer == "onnx":
        path = folder / ONNX
        try:
            return OnnxScorer(path.read_bytes(), encoder)
        except BundleError as error:
            raise type(error)(f"{path}: {error}; train again") from error
    from leeway.model.sklearn import SklearnScorer  # noqa: PLC0415 (only such a bundle pays for scikit-learn)

    return SklearnScorer(folder / PIPELINE, encoder)


def _try_out(bundle: Bundle) -> None:
    """Score the card's example: a model that cannot answer is found now, and the first request finds a warm one."""
    try:
        (score,) = bundle.score([bundle.card.example])
    except Exception as error:
        raise BundleSchemaMismatch(f"{bundle.folder}: the model cannot score the card's example: {error}") from error
    if not 0 <= score <= 1:
        raise BundleSchemaMismatch(f"{bundle.folder}: the model answers {score} to the card's example; train again")
