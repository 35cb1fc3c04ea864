from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from leeway.model.bundle import Bundle
from leeway.model.manifest import MANIFEST, SCHEMA
from leeway.model.writer import Reference, bundle_pipeline
from leeway.schema import Feature, FeatureSchema
from tests.leeway.model.bundles import fitted, small_bundle, some_rows


def test_a_feature_nobody_has_is_bundled(tmp_path: Path) -> None:
    """A column without any value is bundled: nothing was seen of it, so any value of it is unusual."""
    frame, labels = some_rows()
    schema = FeatureSchema(
        (
            Feature("age", "integer"),
            Feature("monthly fee", "number"),
            Feature("c.x-y", "category"),
            Feature("gone", "number", nullable=True),
            Feature("gone text", "category", nullable=True),
        )
    )
    empty = frame.assign(**{"gone": np.nan, "gone text": None})
    bundle = bundle_pipeline(fitted(), Reference(empty, labels), tmp_path / "bundle", schema=schema)
    row = bundle.card.example
    assert (bundle.schema["gone"].seen.low, row["gone"], row["gone text"]) == (None, None, None)
    rows = [bundle.schema.row(each) for each in (row, {**row, "gone": 1.0, "gone text": "x"})]
    assert bundle.encoder.unusual(bundle.encoder.encode(rows)) == [(), ("gone", "gone text")]


def test_the_example_of_a_constant_is_the_constant(tmp_path: Path) -> None:
    """Where rounding would leave the usual range, the example is not rounded: it is a usual row, whatever the data."""
    frame, labels = some_rows()
    bundle = bundle_pipeline(fitted(), Reference(frame.assign(**{"monthly fee": 29.14104464}), labels), tmp_path / "b")
    assert bundle.encoder.unusual(bundle.encoder.encode([bundle.schema.row(bundle.card.example)])) == [()]


def test_what_training_held_counts_as_seen(tmp_path: Path) -> None:
    """A category and a gap that only the training rows have are no news."""
    frame, labels = some_rows()
    training = frame.copy()
    training.loc[0, "c.x-y"] = "rare"
    training["monthly fee"] = training["monthly fee"].where(training.index != 1)
    pipeline = fitted(numbers=make_pipeline(SimpleImputer(), StandardScaler()))
    bundle = bundle_pipeline(pipeline, Reference(frame, labels), tmp_path / "bundle", training=training)
    row = bundle.schema.row({**bundle.card.example, "c.x-y": "rare", "monthly fee": None})
    assert bundle.encoder.unusual(bundle.encoder.encode([row])) == [()]


def test_same_data_same_bundle(small: Bundle, tmp_path: Path) -> None:
    """The same data, at another time, give the same version, the same schema's bytes and the same figures."""
    again = small_bundle(tmp_path / "bundle", made_at=datetime(2031, 1, 1, tzinfo=UTC))
    assert again.version == small.version
    assert (again.folder / SCHEMA).read_bytes() == (small.folder / SCHEMA).read_bytes()
    assert again.card == msgspec.structs.replace(small.card, made_at=again.card.made_at)


def test_another_model_another_version(small: Bundle, tmp_path: Path) -> None:
    """A model that answers otherwise has another version."""
    assert small_bundle(tmp_path / "bundle", fitted(LogisticRegression(C=0.01))).version != small.version


def test_version_begins_with_the_datas_date(tmp_path: Path) -> None:
    """Where the data have a date, the version begins with it."""
    bundle = small_bundle(tmp_path / "bundle", as_of="2026-01-31")
    assert re.fullmatch(r"2026-01-31-[0-9a-f]{8}", bundle.version)


def test_manifest_names_the_libraries(small: Bundle) -> None:
    """The manifest says which versions of the libraries made the model."""
    manifest = json.loads((small.folder / MANIFEST).read_text())
    assert {"scikit-learn", "numpy", "onnxruntime", "skl2onnx", "skops"} <= manifest["libraries"].keys()


def test_the_decision_threshold_is_kept(small: Bundle, tmp_path: Path) -> None:
    """The threshold is the origin's, and part of the version: it decides what is answered."""
    bundle = small_bundle(tmp_path / "bundle", decision_threshold=0.3)
    assert bundle.decision_threshold == 0.3
    assert bundle.version != small.version
