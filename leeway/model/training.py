"""Fit the built-in kind of model and bundle it: histogram gradient boosting on an honest split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from leeway.model.bundle import Bundle
from leeway.model.encoding import Encoder
from leeway.model.sklearn import encode_frame, model_frame
from leeway.model.writer import Origin, Reference, bundle_pipeline, refuse_other_things
from leeway.schema import FeatureSchema

HELD_OUT_SHARE = 0.3
MIN_ROWS = 100
SEED = 7


class TrainingError(ValueError):
    """These data cannot train a model; the message says why."""


@dataclass(frozen=True)
class TrainingData:
    """n rows: a typed frame of the schema's features, and labels (0 or 1)."""

    schema: FeatureSchema
    frame: pd.DataFrame
    labels: NDArray[np.int64]


def train(data: TrainingData, folder: Path, origin: Origin, *, seed: int = SEED) -> Bundle:
    """Fit on 70 % of the rows, bundle with the other 30 % as the reference, and return the bundle.

    The split is stratified by label and fixed by `seed`. The model sees numbers as 32-bit floats, unscaled: that is
    what ONNX computes with, and so both agree.

    Raises:
        TrainingError: too few rows, or one class only.
        leeway.model.bundle.BundleError: the bundle cannot be written.
    """
    _check(data)
    refuse_other_things(folder)  # now, not after the training
    places = np.arange(len(data.labels))
    fit_on, held_out = train_test_split(places, test_size=HELD_OUT_SHARE, random_state=seed, stratify=data.labels)
    encoder = Encoder(data.schema)
    training = data.frame.iloc[np.sort(fit_on)]
    rows = model_frame(encoder, encode_frame(encoder, training))
    pipeline = new_pipeline(
        [name for name in encoder.number_names if rows[name].notna().any()], encoder.text_names, seed
    )
    pipeline.fit(rows, data.labels[np.sort(fit_on)])
    reference = Reference(data.frame.iloc[np.sort(held_out)], data.labels[np.sort(held_out)])
    return bundle_pipeline(
        pipeline,
        reference,
        folder,
        origin=replace(origin, rows=len(training), seed=seed),
        schema=data.schema,
        training=training,
    )


def new_pipeline(numbers: Sequence[str], texts: Sequence[str], seed: int) -> Pipeline:
    """An unfitted pipeline: categories one-hot, numbers as they are, then small boosted trees that stop in time.

    A number that no training row has stays out of `numbers`: the trees cannot bin it.
    """
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    columns = [
        ("numbers", "passthrough", list(numbers)),
        ("categories", one_hot, list(texts)),
    ]
    encode = ColumnTransformer([each for each in columns if each[2]])
    trees = HistGradientBoostingClassifier(
        learning_rate=0.05, max_iter=80, max_leaf_nodes=8, min_samples_leaf=40, early_stopping=False, random_state=seed
    )
    return Pipeline([("encode", encode), ("trees", trees)])


def _check(data: TrainingData) -> None:
    if len(data.labels) < MIN_ROWS:
        raise TrainingError(f"{len(data.labels)} labelled rows are too few to train on; {MIN_ROWS} are the least")
    rarer = int(min(data.labels.sum(), len(data.labels) - data.labels.sum()))
    if rarer < 10:  # noqa: PLR2004 (a split needs some of each class on both sides)
        raise TrainingError(f"the rarer class has {rarer} rows; 10 are the least to train on")
