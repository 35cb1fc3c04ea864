from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from leeway.data.population import Population
from leeway.model import bundle as bundles
from leeway.model.bundle import Bundle
from leeway.model.manifest import CARD, ONNX, PIPELINE, SCHEMA, BundleDamaged, BundleSchemaMismatch
from leeway.schema import CHURN_SCHEMA
from tests.leeway.model.bundles import change_json, error_of, reseal

Change = Callable[[Any], Any]


def test_loads_what_was_written(bundle: Bundle) -> None:
    """A bundle loads with the name, version, schema and card that were written."""
    again = bundles.load(bundle.folder)
    assert (again.name, again.version, again.schema) == (bundle.name, bundle.version, bundle.schema)
    assert again.card == bundle.card
    assert msgspec.json.encode(again.card) == msgspec.json.format((bundle.folder / CARD).read_bytes(), indent=-1)
    assert again.schema.fingerprint == CHURN_SCHEMA.fingerprint


def test_scores_are_probabilities(bundle: Bundle, people: Population) -> None:
    """Each row has one probability from 0 to 1, the same alone as in a batch."""
    rows = [people.row(place) for place in range(50)]
    scores = bundle.score(rows)
    assert scores.shape == (50,)
    assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_allclose(scores, [bundle.score([row])[0] for row in rows], atol=1e-6)


def test_scikit_learn_scores_the_same(bundle: Bundle, on_sklearn: Path, people: Population) -> None:
    """Scored by scikit-learn, the same bundle gives the same probabilities."""
    rows = [people.row(place) for place in range(200)]
    np.testing.assert_allclose(bundles.load(on_sklearn).score(rows), bundle.score(rows), atol=1e-5)


def test_an_onnx_bundle_needs_neither_pandas_nor_scikit_learn(bundle: Bundle) -> None:
    """Loading an ONNX bundle and scoring with it imports none of the heavy libraries."""
    code = (
        "import sys; from pathlib import Path; from leeway.model import bundle\n"
        "loaded = bundle.load(Path(sys.argv[1])); loaded.score([loaded.card.example])\n"
        "print({'pandas', 'sklearn', 'scipy', 'skops', 'pyarrow', 'skl2onnx', 'onnx'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code, bundle.folder], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_onnx_runtime_sends_no_telemetry(tmp_path: Path) -> None:
    """ONNX Runtime would store a device id in the user's cache; imported by us it writes nothing."""
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | home
    subprocess.run([sys.executable, "-c", "import leeway.model.bundle"], env=environment, check=True)
    assert list(tmp_path.rglob("*onnxruntime*")) == []


# --- contents that do not fit, though the manifest vouches for them -------------------------------------------------


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("nonsense", "malformed"),
        ("[]", "Expected `object`"),
        ("{}", "`features`"),
        ('{"features": [{"name": "a"}]}', "`kind` - at `$.features[0]`"),
        ('{"features": [{"name": "a", "kind": "number", "weight": 1}]}', "`weight`"),
    ],
)
def test_a_damaged_schema_is_found(folder: Path, text: str, member: str) -> None:
    """A file that is not a schema is damage, and the message names the member."""
    (folder / SCHEMA).write_text(text)
    reseal(folder)
    error = error_of(folder)
    assert isinstance(error, BundleDamaged)
    assert SCHEMA in str(error)
    assert member in str(error)


@pytest.mark.parametrize(
    ("change", "member"),
    [
        (lambda _: [], "Expected `object`"),
        (lambda _: 5, "Expected `object`"),
        (lambda _: {}, "`name`"),
        (lambda card: card.pop("drift") and None, "`drift`"),
        (lambda card: card.update(decision_threshold="half"), "decision_threshold"),
        (lambda card: card.update(decision_threshold=1.5), "decision_threshold"),
        (lambda card: card.update(decision_threshold=float("nan")), "malformed"),
        (lambda card: card.update(decision_threshold=None), "decision_threshold"),
        (lambda card: card.update(example=None), "example"),
        (lambda card: card["example"].update(months_active="many"), "months_active"),
        (lambda card: card.update(score_reference={}), "score_reference"),
        (lambda card: card["score_reference"]["shares"].pop() and None, "19 shares for 20 bounds"),
        (lambda card: card.update(drift={"features": 5}), "drift.features"),
        (lambda card: card["drift"].pop("score") and None, "`score`"),
        (lambda card: card.update(scorer="magic"), "scorer"),
    ],
)
def test_a_damaged_card_is_found(folder: Path, change: Change, member: str) -> None:
    """A card that lacks what others rely on is damage, and the message names the member."""
    change_json(folder / CARD, change)
    reseal(folder)
    error = error_of(folder)
    assert isinstance(error, BundleDamaged)
    assert CARD in str(error)
    assert member in str(error)


def test_a_card_that_is_not_json_is_found(folder: Path) -> None:
    """A card of arbitrary bytes is damage."""
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
def test_the_card_of_another_model_is_a_mismatch(folder: Path, change: Change) -> None:
    """A valid card of another model is a mismatch, not damage."""
    change_json(folder / CARD, change)
    reseal(folder)
    assert isinstance(error_of(folder), BundleSchemaMismatch)


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x08" * 10_000])
def test_a_damaged_model_is_found(folder: Path, content: bytes) -> None:
    """A model that ONNX Runtime cannot load is damage."""
    (folder / ONNX).write_bytes(content)
    reseal(folder)
    error = error_of(folder)
    assert isinstance(error, BundleDamaged)
    assert ONNX in str(error)


def test_a_model_with_other_inputs_is_a_mismatch(folder: Path, small: Bundle) -> None:
    """A valid model of other features is a mismatch, and the features are named."""
    shutil.copy(small.folder / ONNX, folder / ONNX)
    reseal(folder)
    error = error_of(folder)
    assert isinstance(error, BundleSchemaMismatch)
    assert "monthly fee" in str(error)


def test_a_model_that_cannot_score_is_found_when_loading(on_sklearn: Path, small: Bundle) -> None:
    """A model that fails on the card's own example fails the load, not the first request."""
    shutil.copy(small.folder / PIPELINE, on_sklearn / PIPELINE)
    reseal(on_sklearn)
    assert isinstance(error_of(on_sklearn), BundleSchemaMismatch)
