"""A small bundle to read, and a copy of the churn bundle to damage, scored by ONNX or by scikit-learn."""

from __future__ import annotations

from pathlib import Path

import pytest

from leeway.model.bundle import Bundle
from leeway.model.manifest import CARD, ONNX
from tests.leeway.model.bundles import change_json, change_manifest, copy_of, reseal, small_bundle


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A logistic regression on two numbers and a category."""
    return small_bundle(tmp_path_factory.mktemp("small") / "bundle")


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of a valid bundle, to damage."""
    return copy_of(bundle, tmp_path)


@pytest.fixture
def on_sklearn(folder: Path) -> Path:
    """The same bundle, scored by scikit-learn."""
    (folder / ONNX).unlink()
    change_json(folder / CARD, lambda card: card.update(scorer="scikit-learn"))
    change_manifest(folder, lambda each: (each.update(scorer="scikit-learn"), each["files"].pop(ONNX), None)[2])
    reseal(folder)
    return folder
