"""Train the built-in kind of model, histogram gradient boosting, and bundle it with rows it was not trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder

from leeway.data.tabular import TrainingData
from leeway.model.bundle import Bundle
from leeway.model.encoding import Encoder
from leeway.model.frame import FrameLayout
from leeway.model.sklearn import encode_frame
from leeway.model.writer import Origin, Reference, bundle_pipeline, require_replaceable
from leeway.schema import Task, class_name

HELD_OUT_SHARE = 0.3
MIN_ROWS = 100
LEAST_OF_CLASS = 10
"""Both parts of the split need rows of each class."""
LEAVES, MOST_IN_LEAF = 20, 40
"""A leaf holds at least a twentieth of the rows, or 40."""
SEED = 7


class TrainingError(ValueError):
    """No model can be trained on these data; the message says why."""


def train(
    data: TrainingData, folder: Path, origin: Origin, *, seed: int = SEED, group_rare: int | None = None
) -> Bundle:
    """Fit on 70 % of the rows, bundle with the other 30 % as the reference, and return the bundle.

    The categories that fewer than `group_rare` of these rows have are one group, with those that are never seen.

    The split is stratified by class and fixed by `seed`. The model takes numbers as 32-bit floats, unscaled, because
    ONNX computes with them: so both agree.

    Raises:
        TrainingError: too few rows, or too few of a class.
        leeway.model.manifest.BundleError: the bundle cannot be written.
    """
    _check(data)
    require_replaceable(folder)  # now, not after the training
    task = data.schema.target.task
    fit_on, held_out = train_test_split(
        np.arange(len(data.labels)),
        test_size=HELD_OUT_SHARE,
        random_state=seed,
        stratify=None if task == "regression" else data.labels,
    )
    encoder, layout = Encoder(data.schema), FrameLayout.plain(data.schema)
    training = data.frame.iloc[np.sort(fit_on)]
    rows = layout.frame(encoder, encode_frame(encoder, training))
    numbers = [name for name in encoder.number_names if rows[name].notna().any()]
    kept = None if group_rare is None else [frequent(rows[name], group_rare) for name in encoder.text_names]
    model = new_model(task, len(training), seed)
    pipeline = new_pipeline(model, numbers, encoder.text_names, kept)
    pipeline.fit(rows, data.labels[np.sort(fit_on)])
    reference = Reference(data.frame.iloc[np.sort(held_out)], data.labels[np.sort(held_out)])
    return bundle_pipeline(
        pipeline,
        reference,
        folder,
        origin=replace(origin, rows=len(training), seed=seed),
        schema=data.schema,
        training=training,
        layout=layout,
    )


def frequent(texts: pd.Series[Any], rows: int) -> list[str]:
    """The texts that at least so many rows have, in order; the most frequent one if there are none."""
    counts = texts.value_counts()
    return sorted(counts[counts >= min(rows, counts.max())].index)


def new_model(task: Task, rows: int, seed: int) -> HistGradientBoostingClassifier | HistGradientBoostingRegressor:
    """Unfitted boosted trees, 80 small ones (for each of several classes), to be fitted on so many rows."""
    kind = HistGradientBoostingRegressor if task == "regression" else HistGradientBoostingClassifier
    return kind(
        learning_rate=0.05,
        max_iter=80,
        max_leaf_nodes=8,
        min_samples_leaf=min(MOST_IN_LEAF, max(1, rows // LEAVES)),
        early_stopping=False,
        random_state=seed,
    )


def new_pipeline(
    model: Any,  # noqa: ANN401 (any estimator of scikit-learn)
    numbers: Sequence[str],
    texts: Sequence[str],
    categories: Sequence[Sequence[str]] | None = None,
) -> Pipeline:
    """An unfitted pipeline: one-hot encoding for categories, numbers unchanged, then the model.

    `categories` are those of each text feature that are encoded; by default all that are fitted on. Leave out of
    `numbers` a feature that is missing in every training row: the trees cannot bin it.
    """
    kept = "auto" if categories is None else [np.array(each, dtype=object) for each in categories]
    one_hot = OneHotEncoder(categories=kept, handle_unknown="ignore", sparse_output=False, dtype=np.float32)
    columns = [("numbers", "passthrough", list(numbers)), ("categories", one_hot, list(texts))]
    encode = ColumnTransformer([each for each in columns if each[2]])
    return Pipeline([("encode", encode), ("trees", model)])


def _check(data: TrainingData) -> None:
    if len(data.labels) < MIN_ROWS:
        raise TrainingError(f"{len(data.labels)} labelled rows are too few to train on; at least {MIN_ROWS} are needed")
    counts = Counter(data.labels.tolist())
    rarest = min(data.schema.target.classes, key=counts.__getitem__, default=None)
    if rarest is not None and counts[rarest] < LEAST_OF_CLASS:
        raise TrainingError(
            f"class {class_name(rarest)!r} has {counts[rarest]} rows; to train, at least {LEAST_OF_CLASS} of each class"
            " are needed"
        )
