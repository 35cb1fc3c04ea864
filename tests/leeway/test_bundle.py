from __future__ import annotations

import contextlib
import inspect
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlretrieve

import numpy as np
import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from leeway import bundle as bundles
from leeway.bundle import (
    Bundle,
    BundleDamaged,
    BundleError,
    BundleMissing,
    BundleSchemaMismatch,
    BundleVersionUnknown,
)
from leeway.manifest import CARD, MANIFEST, ONNX, PIPELINE, REFERENCE, SCHEMA
from leeway.population import Population
from leeway.schema import CHURN_SCHEMA
from tests.leeway.bundles import change_json, change_manifest, copy_of, reseal, small_bundle

FILES = [MANIFEST, SCHEMA, CARD, REFERENCE, PIPELINE, ONNX]
Change = Callable[[Any], Any]


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


def error_of(folder: Path) -> BundleError:
    """The error with which the folder is refused: in one line, and with no words of Python's."""
    with pytest.raises(BundleError) as caught:
        bundles.load(folder)
    assert str(folder) in str(caught.value)
    assert "Traceback" not in str(caught.value)
    return caught.value


def test_loads_what_was_written(bundle: Bundle) -> None:
    """A whole bundle loads: name, version, schema and card are those that were written."""
    again = bundles.load(bundle.folder)
    assert (again.name, again.version, again.schema) == (bundle.name, bundle.version, bundle.schema)
    assert again.card == json.loads((bundle.folder / CARD).read_text())
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


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("file", FILES[1:])
def test_a_changed_byte_is_found(folder: Path, file: str, place: str) -> None:
    """One changed byte, wherever in whichever file, is damage, and the file is named."""
    content = bytearray((folder / file).read_bytes())
    content[{"first": 0, "middle": len(content) // 2, "last": -1}[place]] ^= 1
    (folder / file).write_bytes(content)
    error = error_of(folder)
    assert isinstance(error, BundleDamaged)
    assert file in str(error)


def test_a_changed_byte_of_the_manifest_is_found(folder: Path) -> None:
    """No byte of the manifest can change unseen: whatever it says, it says with its digest."""
    content = (folder / MANIFEST).read_bytes()
    for place in range(0, len(content), 97):
        if not content[place : place + 1].isspace():
            (folder / MANIFEST).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert isinstance(error_of(folder), BundleDamaged | BundleVersionUnknown)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_said(folder: Path, file: str) -> None:
    """A file that is gone is missing, and named."""
    (folder / file).unlink()
    error = error_of(folder)
    assert isinstance(error, BundleMissing)
    assert file in str(error)


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    """Where there is no bundle at all the message says how to come by one."""
    with pytest.raises(BundleMissing, match=r"leeway train.*LEEWAY_BUNDLE"):
        bundles.load(tmp_path / "nowhere")


def test_a_file_in_the_folders_place_is_no_bundle(tmp_path: Path) -> None:
    """A file where a folder should be is a missing bundle, not a traceback."""
    (tmp_path / "bundle").write_text("")
    assert isinstance(error_of(tmp_path / "bundle"), BundleMissing)


def test_a_truncated_file_is_found(folder: Path) -> None:
    """A file cut off is damage."""
    (folder / ONNX).write_bytes((folder / ONNX).read_bytes()[:100])
    assert isinstance(error_of(folder), BundleDamaged)


def test_a_folder_in_a_files_place_is_found(folder: Path) -> None:
    """A folder where a file should be is a missing file."""
    (folder / ONNX).unlink()
    (folder / ONNX).mkdir()
    assert isinstance(error_of(folder), BundleMissing)


@pytest.mark.parametrize("text", [b"", b"nonsense", b"\xff\xfe", b"[]", b"5", b'"text"', b"null", b"[" * 100_000])
def test_a_manifest_that_is_none_is_found(folder: Path, text: bytes) -> None:
    """A manifest that is no JSON, or no object, is damage."""
    (folder / MANIFEST).write_bytes(text)
    assert isinstance(error_of(folder), BundleDamaged)


@pytest.mark.parametrize("member", ["name", "version", "schema_fingerprint", "scorer", "files", "libraries", "digest"])
def test_a_manifest_without_a_member_is_found(folder: Path, member: str) -> None:
    """A manifest that does not say all it must is damage."""
    change_json(folder / MANIFEST, lambda document: document.pop(member) and None)
    assert isinstance(error_of(folder), BundleDamaged)


@pytest.mark.parametrize("value", [None, 5, 1.5, True, [], ["x"], {"x": 1}, {"x": {}}])
@pytest.mark.parametrize("member", ["name", "version", "schema_fingerprint", "scorer", "files", "libraries"])
def test_a_manifest_of_odd_types_is_found(folder: Path, member: str, value: object) -> None:
    """A member of another type is damage, though the digest fits."""
    change_manifest(folder, lambda document: document.update({member: value}))
    assert isinstance(error_of(folder), BundleDamaged)


@pytest.mark.parametrize("value", [None, 0, 2, 1.5, True, "1", [1], {}])
def test_an_unknown_format_is_told_apart(folder: Path, value: object) -> None:
    """A format that this version does not know is said as such, and which one it is."""
    change_manifest(folder, lambda document: document.update(format=value))
    error = error_of(folder)
    assert isinstance(error, BundleVersionUnknown)
    assert repr(value) in str(error)


def test_an_unknown_scorer_is_told_apart(folder: Path) -> None:
    """A way of scoring that this version does not know is said as such."""
    change_manifest(folder, lambda document: document.update(scorer="pickle"))
    error = error_of(folder)
    assert isinstance(error, BundleVersionUnknown)
    assert "'pickle'" in str(error)


@pytest.mark.parametrize("name", ["../x", "/etc/hostname", "sub/x", "..", ".", "", "x\0y", "extra.bin"])
def test_files_elsewhere_are_refused(folder: Path, name: str) -> None:
    """A manifest that names any file but a bundle's own is refused, before that file is looked at."""
    (folder.parent / "x").write_text("")
    change_manifest(folder, lambda document: document["files"].update({name: "0" * 64}))
    assert isinstance(error_of(folder), BundleDamaged)


@pytest.mark.parametrize("name", [SCHEMA, CARD, REFERENCE, PIPELINE, ONNX])
def test_no_file_goes_unverified(folder: Path, name: str) -> None:
    """A manifest that leaves out a file's digest, the model's above all, is refused."""
    change_manifest(folder, lambda document: document["files"].pop(name) and None)
    error = error_of(folder)
    assert isinstance(error, BundleDamaged)
    assert name in str(error)


def test_another_schema_is_told_apart(folder: Path) -> None:
    """A manifest of another schema than the one in the folder is a mismatch, and names both."""
    change_manifest(folder, lambda document: document.update(schema_fingerprint="0" * 12))
    error = error_of(folder)
    assert isinstance(error, BundleSchemaMismatch)
    assert "000000000000" in str(error)
    assert CHURN_SCHEMA.fingerprint in str(error)


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


class Payload:
    """An object whose unpickling makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """What unpickling calls."""
        return (open, (str(self.path), "w"))


def test_a_pickle_for_a_pipeline_is_not_run(on_sklearn: Path, tmp_path: Path) -> None:
    """A pickle in the pipeline's place, with a digest that fits, is damage, and is not run."""
    (on_sklearn / PIPELINE).write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    reseal(on_sklearn)
    assert isinstance(error_of(on_sklearn), BundleDamaged)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("file", FILES)
def test_nothing_is_ever_unpickled(folder: Path, tmp_path: Path, file: str) -> None:
    """A pickle in any file's place, with digests that fit where there are any, is not run."""
    (folder / file).write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    if file != MANIFEST:
        reseal(folder)
    with contextlib.suppress(BundleError, ValueError):  # an ONNX bundle does not look into its pipeline
        bundles.load(folder).reference()
    assert not (tmp_path / "ran").exists()


def test_the_payload_would_have_run(tmp_path: Path) -> None:
    """The payload of the test above is no dud: unpickled, it makes its file."""
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran"))).close()  # noqa: S301 (to show what must not happen)
    assert (tmp_path / "ran").exists()


def test_a_foreign_function_is_not_loaded(on_sklearn: Path) -> None:
    """A pipeline file that names a function from outside scikit-learn is damage, and says which."""
    skops.io.dump(FunctionTransformer(os.system), on_sklearn / PIPELINE)
    reseal(on_sklearn)
    error = error_of(on_sklearn)
    assert isinstance(error, BundleDamaged)
    assert "system" in str(error)


@pytest.mark.parametrize(
    ("function", "home", "disguise"),
    [(inspect.signature, "inspect", "sklearn.calibration"), (urlretrieve, "urllib.request", "sklearn.datasets._base")],
)
def test_a_foreign_function_in_disguise_is_not_loaded(
    on_sklearn: Path, function: Callable[..., object], home: str, disguise: str
) -> None:
    """A function that scikit-learn merely imports does not pass for its own."""
    skops.io.dump(FunctionTransformer(function), on_sklearn / PIPELINE)
    with zipfile.ZipFile(on_sklearn / PIPELINE) as archive:
        schema = archive.read("schema.json").replace(f'"{home}"'.encode(), f'"{disguise}"'.encode())
    with zipfile.ZipFile(on_sklearn / PIPELINE, "w") as archive:
        archive.writestr("schema.json", schema)
    reseal(on_sklearn)
    error = error_of(on_sklearn)
    assert isinstance(error, BundleDamaged)
    assert f"{disguise}.{function.__name__}" in str(error)


def test_an_onnx_bundle_needs_neither_pandas_nor_scikit_learn(bundle: Bundle) -> None:
    """Loading an ONNX bundle and scoring with it imports none of the heavy libraries."""
    code = (
        "import sys; from pathlib import Path; from leeway import bundle\n"
        "loaded = bundle.load(Path(sys.argv[1])); loaded.score([loaded.card['example']])\n"
        "print({'pandas', 'sklearn', 'skops', 'pyarrow', 'skl2onnx', 'onnx'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code, bundle.folder], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_the_model_runtime_does_not_phone_home(tmp_path: Path) -> None:
    """ONNX Runtime would make itself a device id in the user's cache, and report: imported by us it leaves no trace."""
    home = {"HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | home
    subprocess.run([sys.executable, "-c", "import leeway.bundle"], env=environment, check=True)
    assert list(tmp_path.rglob("*onnxruntime*")) == []
