"""The bundle's manifest: its files and their hashes, and the errors that a bundle can cause.

No file of a bundle is read before its hash is verified. The manifest has a digest of itself, too. Both detect
damage, not tampering: anyone who may write to the folder may write any model into it.

Errors:
    BundleError
    ├── BundleMissing          the folder or one of its files does not exist
    ├── BundleDamaged          a file is not what the manifest says, or cannot be read
    ├── BundleVersionUnknown   written by another version of Leeway
    └── BundleSchemaMismatch   model, schema and manifest do not belong together
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from leeway.schema import Task

T = TypeVar("T")

FORMAT: Final = 1
MANIFEST, SCHEMA, CARD = "manifest.json", "schema.json", "card.json"
REFERENCE, PIPELINE, FRAME, ONNX = "reference.parquet", "pipeline.skops", "frame.json", "model.onnx"
ALWAYS: Final = frozenset({SCHEMA, CARD, REFERENCE, PIPELINE, FRAME})
SCORERS: Final = {"onnx": ALWAYS | {ONNX}, "scikit-learn": ALWAYS}
"""Each kind of scorer, and the files of its bundle besides the manifest."""


class BundleError(Exception):
    """The bundle cannot be used or written; the message says why and what to do."""


class BundleMissing(BundleError):
    """The bundle or one of its files does not exist."""


class BundleDamaged(BundleError):
    """A file of the bundle is not what its manifest says, or cannot be read."""


class BundleVersionUnknown(BundleError):
    """The bundle has a format that this version of Leeway does not read."""


class BundleSchemaMismatch(BundleError):
    """Model, schema and manifest do not belong together."""


class Manifest(msgspec.Struct, frozen=True):
    """The content of `manifest.json`. `files` maps a name to its SHA-256 in hex, `libraries` to its version."""

    name: str
    version: str
    schema_fingerprint: str
    task: Task
    scorer: str
    files: dict[str, str]
    libraries: dict[str, str]


def write_manifest(manifest: Manifest, folder: Path) -> None:
    """Write the manifest into `folder`."""
    document = {"format": FORMAT, **msgspec.structs.asdict(manifest)}
    write_json(folder / MANIFEST, {**document, "digest": digest(document)})


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest in `folder` and check every file against it.

    Raises:
        BundleError: one of its kinds, see the head of this module.
    """
    path = folder / MANIFEST
    document = read_json(path, dict[str, Any])
    known = document.get("format")
    if isinstance(known, bool) or known != FORMAT:
        raise BundleVersionUnknown(f"{path}: bundle format {known!r}, but this Leeway reads {FORMAT}; train again")
    try:
        manifest = msgspec.convert(document, Manifest)
    except msgspec.ValidationError as error:
        raise BundleDamaged(f"{path}: {error}; train again") from error
    files = SCORERS.get(manifest.scorer)
    if files is None:
        raise BundleVersionUnknown(f"{path}: unknown scorer {manifest.scorer!r}; train again")
    if odd := sorted(files ^ manifest.files.keys()):
        raise BundleDamaged(f"{path}: `files` must name {', '.join(sorted(files))}, but differs in {odd}; train again")
    if document.get("digest") != digest(document):
        raise BundleDamaged(f"{path} has changed since it was written (its digest differs); train again")
    for name, expected in manifest.files.items():
        _verify(folder / name, expected)
    return manifest


def _verify(path: Path, expected: str) -> None:
    if not path.is_file():
        raise BundleMissing(f"{path} does not exist, but the manifest names it; train again")
    try:
        found = sha256(path)
    except OSError as error:
        raise BundleDamaged(f"{path} cannot be read: {error.strerror}") from error
    if found != expected:
        raise BundleDamaged(f"{path} has changed since it was written (its SHA-256 differs); train again")


def digest(document: Mapping[str, Any]) -> str:
    """The SHA-256 of a manifest's members except the digest itself."""
    members = {name: value for name, value in document.items() if name != "digest"}
    return hashlib.sha256(msgspec.json.encode(members, order="sorted")).hexdigest()


def sha256(path: Path) -> str:
    """The file's SHA-256 in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path, kind: type[T]) -> T:
    """Decode a JSON file of a bundle.

    Raises:
        BundleMissing: the file does not exist.
        BundleDamaged: it cannot be read, or is not a JSON document of this kind.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleMissing(f"{path} does not exist: run `leeway train`, or set LEEWAY_BUNDLE to a bundle") from error
    except OSError as error:
        raise BundleDamaged(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BundleDamaged(f"{path}: {error}; train again") from error


def write_json(path: Path, document: object) -> None:
    """Write a JSON document, indented for people."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")
