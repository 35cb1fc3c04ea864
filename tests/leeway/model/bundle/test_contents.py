from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leeway.model.bundle import BundleDamaged, BundleSchemaMismatch
from leeway.model.manifest import CARD, ONNX, PIPELINE, SCHEMA
from tests.leeway.model.bundles import change_json, error_of, reseal, small_bundle

Change = Callable[[Any], Any]


@pytest.mark.parametrize("text", ["nonsense", "[]", "{}", '{"features": [{"name": "a"}]}'])
def test_a_damaged_schema_is_found(folder: Path, text: str) -> None:
    """A schema that is none is damage, though its digest fits."""
    (folder / SCHEMA).write_text(text)
    reseal(folder)
    error = error_of(folder)
    assert isinstance(error, BundleDamaged)
    assert SCHEMA in str(error)


@pytest.mark.parametrize(
    "change",
    [
        lambda _: [],
        lambda _: 5,
        lambda _: {},
        lambda card: card.pop("drift") and None,
        lambda card: card.update(decision_threshold="half"),
        lambda card: card.update(decision_threshold=1.5),
        lambda card: card.update(decision_threshold=float("nan")),
        lambda card: card.update(decision_threshold=None),
        lambda card: card.update(example=None),
        lambda card: card["example"].update(months_active="many"),
        lambda card: card.update(score_reference={}),
        lambda card: card["score_reference"]["shares"].pop() and None,
        lambda card: card.update(drift={"features": 5}),
    ],
)
def test_a_damaged_card_is_found(folder: Path, change: Change) -> None:
    """A card without what others rely on is damage, though its digest fits."""
    change_json(folder / CARD, change)
    reseal(folder)
    error = error_of(folder)
    assert isinstance(error, BundleDamaged)
    assert CARD in str(error)


def test_a_card_that_is_no_json_is_found(folder: Path) -> None:
    """A card of bytes that are no JSON is damage."""
    (folder / CARD).write_bytes(b"\xff{")
    reseal(folder)
    assert isinstance(error_of(folder), BundleDamaged)


@pytest.mark.parametrize(
    "change",
    [
        lambda card: card.update(version="another"),
        lambda card: card.update(name="another"),
        lambda card: card.update(scorer="scikit-learn"),
        lambda card: card["drift"]["features"].pop("skips_7d") and None,
    ],
)
def test_another_models_card_is_told_apart(folder: Path, change: Change) -> None:
    """A whole card of another model is a mismatch."""
    change_json(folder / CARD, change)
    reseal(folder)
    assert isinstance(error_of(folder), BundleSchemaMismatch)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08" * 10_000])
def test_garbage_for_a_model_is_found(folder: Path, content: bytes) -> None:
    """A model that ONNX Runtime cannot load is damage, though its digest fits."""
    (folder / ONNX).write_bytes(content)
    reseal(folder)
    error = error_of(folder)
    assert isinstance(error, BundleDamaged)
    assert ONNX in str(error)


def test_a_model_of_other_inputs_is_told_apart(folder: Path, tmp_path: Path) -> None:
    """A whole model of other features is a mismatch, and the features are named."""
    other = small_bundle(tmp_path / "other")
    shutil.copy(other.folder / ONNX, folder / ONNX)
    reseal(folder)
    error = error_of(folder)
    assert isinstance(error, BundleSchemaMismatch)
    assert "monthly fee" in str(error)


def test_a_model_that_cannot_answer_is_found_at_the_start(on_sklearn: Path, tmp_path: Path) -> None:
    """A model that fails on the card's own example fails the start, not the first request."""
    other = small_bundle(tmp_path / "other")
    shutil.copy(other.folder / PIPELINE, on_sklearn / PIPELINE)
    reseal(on_sklearn)
    assert isinstance(error_of(on_sklearn), BundleSchemaMismatch)
