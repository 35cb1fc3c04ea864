"""Small models for the tests of bundles: synthetic rows, quick pipelines, and functions that damage a folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from leeway.model import bundle as bundles
from leeway.model.bundle import Bundle
from leeway.model.card import Card
from leeway.model.manifest import (
    CARD,
    FRAME,
    MANIFEST,
    ONNX,
    PIPELINE,
    REFERENCE,
    SCHEMA,
    BundleError,
    digest,
    read_json,
    sha256,
)
from leeway.model.sklearn import encode_frame, read_scorer
from leeway.model.writer import Origin, Reference, bundle_pipeline

NUMBERS, TEXTS = ["age", "monthly fee"], ["c.x-y"]
GOLDEN = Path(__file__).with_name("golden")
FILES = [MANIFEST, SCHEMA, CARD, REFERENCE, PIPELINE, FRAME, ONNX]


def some_rows(count: int = 400, seed: int = 0) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Rows of two numbers and a category under names as users give them, and labels that depend on them."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(30, 50, count),
            "monthly fee": (rng.gamma(4, 2, count).round() * 5 + 0.25),
            "c.x-y": rng.choice(["low", "middle", "high"], count),
        }
    )
    risk = frame["monthly fee"] / 20 - frame["age"] / 10 + (frame["c.x-y"] == "high") + rng.normal(size=count)
    return frame, np.asarray(risk > risk.median(), dtype=np.int64)


def golden_card(**changes: Any) -> Card:  # noqa: ANN401 (a card's members)
    """The stored card of `golden/card.json`, with other members."""
    return msgspec.structs.replace(read_json(GOLDEN / CARD, Card), **changes)


def fitted(model: Any = None, *, numbers: Any = None, texts: Any = None) -> Pipeline:  # noqa: ANN401 (sklearn is untyped)
    """A pipeline fitted on `some_rows`: numbers scaled, the category one-hot, then `model` (a logistic regression)."""
    frame, labels = some_rows()
    columns = [
        ("numbers", numbers or StandardScaler(), NUMBERS),
        ("texts", texts or OneHotEncoder(handle_unknown="ignore"), TEXTS),
    ]
    return Pipeline(
        [("columns", ColumnTransformer(columns)), ("model", LogisticRegression() if model is None else model)]
    ).fit(frame, labels)


def small_bundle(folder: Path, pipeline: Pipeline | None = None, **origin: Any) -> Bundle:  # noqa: ANN401 (as Origin has it)
    """A bundle of three features; its reference are rows that the pipeline was not fitted on."""
    frame, labels = some_rows(seed=1)
    made = fitted() if pipeline is None else pipeline
    return bundle_pipeline(
        made, Reference(frame, labels), folder, origin=Origin(**origin), training=some_rows(seed=0)[0]
    )


def truth(bundle: Bundle, frame: pd.DataFrame) -> Any:  # noqa: ANN401 (an array)
    """The probabilities of these rows by the pipeline in the bundle's folder."""
    return read_scorer(bundle.folder, bundle.encoder).score(encode_frame(bundle.encoder, frame))


def copy_of(bundle: Bundle, folder: Path) -> Path:
    """A copy of the bundle's folder, to damage."""
    return Path(shutil.copytree(bundle.folder, folder / "bundle"))


def change_json(path: Path, change: Callable[[Any], Any]) -> None:
    """Change a JSON file; `change` modifies the document in place, or returns another one."""
    document = json.loads(path.read_text())
    changed = change(document)
    path.write_text(json.dumps(document if changed is None else changed))


def change_manifest(folder: Path, change: Callable[[Any], Any]) -> None:
    """Change the manifest, and its digest with it."""
    change_json(folder / MANIFEST, change)
    change_json(folder / MANIFEST, lambda document: document.update(digest=digest(document)))


def reseal(folder: Path) -> None:
    """Update the hashes in the manifest to the files as they are now."""
    change_manifest(
        folder,
        lambda document: document.update(files={name: sha256(folder / name) for name in document["files"]}),
    )


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a folder and their content."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def error_of(folder: Path) -> BundleError:
    """The error with which the folder is rejected; it names the folder and shows no traceback."""
    with pytest.raises(BundleError) as caught:
        bundles.load(folder)
    assert str(folder) in str(caught.value)
    assert "Traceback" not in str(caught.value)
    return caught.value


def apart(bundle: Bundle, frame: pd.DataFrame) -> float:
    """The largest difference between the bundle's scores of these rows and its pipeline's."""
    scores = bundle.scorer.score(encode_frame(bundle.encoder, frame))
    return float(np.abs(scores - truth(bundle, frame)).max())
