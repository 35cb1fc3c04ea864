from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np

from leeway.data.population import Population
from leeway.model import bundle as bundles
from leeway.model.bundle import Bundle
from leeway.model.manifest import CARD
from leeway.schema import CHURN_SCHEMA


def test_loads_what_was_written(bundle: Bundle) -> None:
    """A whole bundle loads: name, version, schema and card are those that were written."""
    again = bundles.load(bundle.folder)
    assert (again.name, again.version, again.schema) == (bundle.name, bundle.version, bundle.schema)
    assert again.card == bundle.card
    assert msgspec.json.decode(msgspec.json.encode(again.card)) == json.loads((bundle.folder / CARD).read_text())
    assert again.schema.fingerprint == CHURN_SCHEMA.fingerprint


def test_scores_are_probabilities(bundle: Bundle, people: Population) -> None:
    """One probability a row, within 0 and 1, the same alone as in a batch."""
    rows = [people.row(place) for place in range(50)]
    scores = bundle.score(rows)
    assert scores.shape == (50,)
    assert ((scores >= 0) & (scores <= 1)).all()
    np.testing.assert_allclose(scores, [bundle.score([row])[0] for row in rows], atol=1e-6)


def test_scikit_learn_scores_the_same(bundle: Bundle, on_sklearn: Path, people: Population) -> None:
    """The same bundle scored by scikit-learn gives the same probabilities."""
    rows = [people.row(place) for place in range(200)]
    np.testing.assert_allclose(bundles.load(on_sklearn).score(rows), bundle.score(rows), atol=1e-5)


def test_an_onnx_bundle_needs_neither_pandas_nor_scikit_learn(bundle: Bundle) -> None:
    """Loading an ONNX bundle and scoring with it imports none of the heavy libraries."""
    code = (
        "import sys; from pathlib import Path; from leeway.model import bundle\n"
        "loaded = bundle.load(Path(sys.argv[1])); loaded.score([loaded.card.example])\n"
        "print({'pandas', 'sklearn', 'skops', 'pyarrow', 'skl2onnx', 'onnx'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code, bundle.folder], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_the_model_runtime_does_not_phone_home(tmp_path: Path) -> None:
    """ONNX Runtime would make itself a device id in the user's cache, and report: imported by us it leaves no trace."""
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | home
    subprocess.run([sys.executable, "-c", "import leeway.model.bundle"], env=environment, check=True)
    assert list(tmp_path.rglob("*onnxruntime*")) == []
