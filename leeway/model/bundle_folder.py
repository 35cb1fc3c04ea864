"""A bundle's folder is replaced whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from leeway.model.manifest import MANIFEST, SCORERS, BundleError

STALE_S = 3_600


@contextmanager
def replacing(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside `folder`; on the way out it takes its place, on an error nothing has changed.

    Raises:
        BundleError: `folder` holds other things than a bundle, or cannot be written.
    """
    place = folder.resolve()
    refuse_other_things(folder)
    prefix = f".{place.name}.new-"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        _sweep(place.parent, prefix)
        with tempfile.TemporaryDirectory(prefix=prefix, dir=place.parent) as temporary:
            new = Path(temporary) / "new"
            new.mkdir()
            yield new
            _swap(new, place, Path(temporary) / "old")
    except OSError as error:
        raise BundleError(f"{folder} cannot be written: {error.strerror or error}") from error


def refuse_other_things(folder: Path) -> None:
    """Refuse a folder that holds other things than a bundle: it is somebody's, and would be replaced.

    Raises:
        BundleError: it does.
    """
    if not folder.exists():
        return
    ours = SCORERS["onnx"] | {MANIFEST}
    others = (
        [path.name for path in sorted(folder.iterdir()) if path.name not in ours] if folder.is_dir() else ["a file"]
    )
    if others:
        raise BundleError(
            f"{folder} holds what is not of a bundle ({others[0]}): name another folder, or empty this one"
        )


def _sweep(parent: Path, prefix: str) -> None:
    """Remove what writers left that were killed over an hour ago."""
    for left in parent.glob(f"{prefix}*"):
        if time.time() - left.stat().st_mtime > STALE_S:
            shutil.rmtree(left, ignore_errors=True)


def _swap(new: Path, folder: Path, old: Path) -> None:
    """Put `new` in the place of `folder`: two renames, so that a reader meets a whole bundle or none."""
    try:
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    except BaseException:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise
