from __future__ import annotations

from operator import methodcaller
from pathlib import Path

import pytest

from leeway.model import bundle as bundles
from leeway.model.manifest import (
    CARD,
    MANIFEST,
    ONNX,
    PIPELINE,
    REFERENCE,
    SCHEMA,
    BundleDamaged,
    BundleMissing,
    BundleSchemaMismatch,
    BundleVersionUnknown,
    Manifest,
    read_json,
    write_manifest,
)
from leeway.schema import CHURN_SCHEMA
from tests.leeway.model.bundles import FILES, GOLDEN, change_json, change_manifest, error_of

MEMBERS = Manifest.__struct_fields__


def test_the_stored_manifest_keeps_its_shape(tmp_path: Path) -> None:
    """The stored manifest is written again byte for byte, with the same digest."""
    write_manifest(read_json(GOLDEN / MANIFEST, Manifest), tmp_path)
    assert (tmp_path / MANIFEST).read_bytes() == (GOLDEN / MANIFEST).read_bytes()


@pytest.mark.parametrize("text", [b"", b"nonsense", b"\xff\xfe", b"[]", b"5", b'"text"', b"null", b"[" * 100_000])
def test_a_damaged_manifest_is_found(folder: Path, text: bytes) -> None:
    """A manifest that is not a JSON object is damage."""
    (folder / MANIFEST).write_bytes(text)
    assert isinstance(error_of(folder), BundleDamaged)


@pytest.mark.parametrize("member", [*MEMBERS, "digest"])
def test_a_manifest_without_a_member_is_found(folder: Path, member: str) -> None:
    """A manifest that lacks a member is damage."""
    change_json(folder / MANIFEST, lambda document: document.pop(member) and None)
    assert isinstance(error_of(folder), BundleDamaged)


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_of_another_type_is_found(folder: Path, member: str) -> None:
    """A member of another type is damage, even if the digest fits, and is named."""
    values: list[object] = [None, 5, 1.5, True, [], ["x"], {"x": 1}, {"x": {}}]
    for value in values:
        change_manifest(folder, methodcaller("update", {member: value}))
        error = error_of(folder)
        assert isinstance(error, BundleDamaged)
        assert member in str(error)


@pytest.mark.parametrize("value", [None, 0, 2, 1.5, True, "1", [1], {}])
def test_an_unknown_format_is_named(folder: Path, value: object) -> None:
    """A format that this version does not read has its own error, which names it."""
    change_manifest(folder, lambda document: document.update(format=value))
    error = error_of(folder)
    assert isinstance(error, BundleVersionUnknown)
    assert repr(value) in str(error)


def test_an_unknown_scorer_is_named(folder: Path) -> None:
    """A scorer that this version does not know has its own error, which names it."""
    change_manifest(folder, lambda document: document.update(scorer="pickle"))
    error = error_of(folder)
    assert isinstance(error, BundleVersionUnknown)
    assert "'pickle'" in str(error)


@pytest.mark.parametrize("name", ["../x", "/etc/hostname", "sub/x", "..", ".", "", "x\0y", "extra.bin"])
def test_other_files_are_rejected(folder: Path, name: str) -> None:
    """A manifest that names any file but a bundle's own is rejected before that file is read."""
    (folder.parent / "x").write_text("")
    change_manifest(folder, lambda document: document["files"].update({name: "0" * 64}))
    assert isinstance(error_of(folder), BundleDamaged)


@pytest.mark.parametrize("name", [SCHEMA, CARD, REFERENCE, PIPELINE, ONNX])
def test_every_file_needs_a_hash(folder: Path, name: str) -> None:
    """A manifest without the hash of a file, above all the model's, is rejected."""
    change_manifest(folder, lambda document: document["files"].pop(name) and None)
    error = error_of(folder)
    assert isinstance(error, BundleDamaged)
    assert name in str(error)


def test_another_schema_is_a_mismatch(folder: Path) -> None:
    """A manifest of another schema than the one in the folder is a mismatch, and the error names both."""
    change_manifest(folder, lambda document: document.update(schema_fingerprint="0" * 12))
    error = error_of(folder)
    assert isinstance(error, BundleSchemaMismatch)
    assert "000000000000" in str(error)
    assert CHURN_SCHEMA.fingerprint in str(error)


@pytest.mark.parametrize("file", FILES[1:])
def test_a_changed_byte_is_found(folder: Path, file: str) -> None:
    """One changed byte anywhere in any file is damage, and the file is named."""
    content = (folder / file).read_bytes()
    for place in (0, len(content) // 2, len(content) - 1):
        (folder / file).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        error = error_of(folder)
        assert isinstance(error, BundleDamaged)
        assert file in str(error)


def test_a_changed_byte_of_the_manifest_is_found(folder: Path) -> None:
    """No byte of the manifest can change unnoticed, because of its digest."""
    content = (folder / MANIFEST).read_bytes()
    for place in range(0, len(content), 97):
        if not content[place : place + 1].isspace():
            (folder / MANIFEST).write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
            assert isinstance(error_of(folder), BundleDamaged | BundleVersionUnknown)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(folder: Path, file: str) -> None:
    """A file that does not exist is named."""
    (folder / file).unlink()
    error = error_of(folder)
    assert isinstance(error, BundleMissing)
    assert file in str(error)


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    """If there is no bundle at all, the message says how to make one."""
    with pytest.raises(BundleMissing, match=r"leeway train.*LEEWAY_BUNDLE"):
        bundles.load(tmp_path / "nowhere")


def test_a_file_instead_of_the_folder_is_a_missing_bundle(tmp_path: Path) -> None:
    """A file where the folder should be is a missing bundle, not a traceback."""
    (tmp_path / "bundle").write_text("")
    assert isinstance(error_of(tmp_path / "bundle"), BundleMissing)


def test_a_truncated_file_is_found(folder: Path) -> None:
    """A truncated file is damage."""
    (folder / ONNX).write_bytes((folder / ONNX).read_bytes()[:100])
    assert isinstance(error_of(folder), BundleDamaged)


def test_a_folder_instead_of_a_file_is_a_missing_file(folder: Path) -> None:
    """A folder where a file should be is a missing file."""
    (folder / ONNX).unlink()
    (folder / ONNX).mkdir()
    assert isinstance(error_of(folder), BundleMissing)
