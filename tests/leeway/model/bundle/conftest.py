"""A bundle to be damaged, as it is and scored by scikit-learn."""

from __future__ import annotations

from pathlib import Path

import pytest

from leeway.model.bundle import Bundle
from leeway.model.manifest import CARD, ONNX
from tests.leeway.model.bundles import change_json, change_manifest, copy_of, reseal


@pytest.fixture
def folder(bundle: Bundle, tmp_path: Path) -> Path:
    """A copy of a whole bundle, to be damaged."""
    return copy_of(bundle, tmp_path)


@pytest.fixture
def on_sklearn(folder: Path) -> Path:
    """The same bundle, scored by scikit-learn."""
    (folder / ONNX).unlink()
    change_json(folder / CARD, lambda card: card.update(scorer="scikit-learn"))
    change_manifest(folder, lambda each: (each.update(scorer="scikit-learn"), each["files"].pop(ONNX), None)[2])
    reseal(folder)
    return folder
