from __future__ import annotations

from pathlib import Path

import pytest

from leeway.model.bundle import BundleDamaged, BundleSchemaMismatch, BundleVersionUnknown
from leeway.model.manifest import CARD, MANIFEST, ONNX, PIPELINE, REFERENCE, SCHEMA
from leeway.schema import CHURN_SCHEMA
from tests.leeway.model.bundles import change_json, change_manifest, error_of


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
