from __future__ import annotations

import contextlib
import inspect
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlretrieve

import pytest
import skops.io
from sklearn.preprocessing import FunctionTransformer

from leeway.model import bundle as bundles
from leeway.model.manifest import MANIFEST, PIPELINE, BundleDamaged, BundleError
from tests.leeway.model.bundles import FILES, error_of, reseal


class Payload:
    """An object that creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        """Called by unpickling."""
        return (open, (str(self.path), "w"))


def test_a_pickle_instead_of_a_pipeline_is_not_run(on_sklearn: Path, tmp_path: Path) -> None:
    """A pickle instead of the pipeline, with a hash that fits, is damage, and is not run."""
    (on_sklearn / PIPELINE).write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    reseal(on_sklearn)
    assert isinstance(error_of(on_sklearn), BundleDamaged)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("file", FILES)
def test_nothing_is_ever_unpickled(folder: Path, tmp_path: Path, file: str) -> None:
    """A pickle instead of any file, with hashes that fit, is not run."""
    (folder / file).write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    if file != MANIFEST:
        reseal(folder)
    with contextlib.suppress(BundleError, ValueError):  # an ONNX bundle does not read its pipeline
        bundles.load(folder).reference()
    assert not (tmp_path / "ran").exists()


def test_the_payload_would_have_run(tmp_path: Path) -> None:
    """The payload of the test above works: unpickled, it creates its file."""
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran"))).close()  # noqa: S301 (to show what must not happen)
    assert (tmp_path / "ran").exists()


def test_a_foreign_function_is_not_loaded(on_sklearn: Path) -> None:
    """A pipeline file that names a function from outside scikit-learn is damage; the error names the function."""
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
    """A function that scikit-learn only imports does not count as its own."""
    skops.io.dump(FunctionTransformer(function), on_sklearn / PIPELINE)
    with zipfile.ZipFile(on_sklearn / PIPELINE) as archive:
        schema = archive.read("schema.json").replace(f'"{home}"'.encode(), f'"{disguise}"'.encode())
    with zipfile.ZipFile(on_sklearn / PIPELINE, "w") as archive:
        archive.writestr("schema.json", schema)
    reseal(on_sklearn)
    error = error_of(on_sklearn)
    assert isinstance(error, BundleDamaged)
    assert f"{disguise}.{function.__name__}" in str(error)
