from __future__ import annotations

import contextlib
import inspect
import os
import pickle
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import urlretrieve

import numpy as np
import pytest
import skops.io
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from leeway.model import bundle as bundles
from leeway.model.manifest import FRAME, MANIFEST, PIPELINE, BundleDamaged, BundleError, BundleSchemaMismatch
from leeway.model.sklearn import read_pipeline, write_pipeline
from tests.leeway.model.bundles import FILES, NUMBERS, change_json, error_of, reseal, some_rows


def double(rows: Any) -> Any:  # noqa: ANN401 (scikit-learn passes anything)
    """A step from outside scikit-learn."""
    return rows * 2


class Booster(LogisticRegression):  # type: ignore[misc]  # untyped
    """Stands for a model of another library."""


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


@pytest.mark.parametrize(
    "pipeline",
    [
        HistGradientBoostingClassifier(max_iter=2, categorical_features=[0]),
        make_pipeline(
            make_column_transformer((StandardScaler(), make_column_selector(dtype_include=[np.number, np.int64]))),
            LogisticRegression(),
        ),
    ],
    ids=["partial", "number types"],
)
def test_what_scikit_learn_takes_from_outside_is_loaded(pipeline: Any, tmp_path: Path) -> None:  # noqa: ANN401 (untyped)
    """`functools.partial` of scikit-learn's own functions and NumPy's scalar types are stored and read again."""
    frame, labels = some_rows()
    pipeline.fit(frame[NUMBERS], labels)
    write_pipeline(pipeline, tmp_path / PIPELINE)
    expected = pipeline.predict_proba(frame[NUMBERS])
    np.testing.assert_array_equal(read_pipeline(tmp_path / PIPELINE).predict_proba(frame[NUMBERS]), expected)


@pytest.mark.parametrize("function", [os.system, np.load, double])
def test_what_a_partial_calls_is_checked(function: Callable[..., object], tmp_path: Path) -> None:
    """A partial of a function from outside is rejected, and the reason names the function."""
    with pytest.raises(BundleError, match=rf"outside scikit-learn.*{function.__name__}"):
        write_pipeline(make_pipeline(FunctionTransformer(partial(function))), tmp_path / PIPELINE)


def test_a_foreign_part_is_named_with_its_step(tmp_path: Path) -> None:
    """The reason says which step contains the function, and what to do."""
    pipeline = Pipeline([("twice", FunctionTransformer(double)), ("model", LogisticRegression())])
    with pytest.raises(
        BundleError, match=r"double \(in 'twice__func'\)\. Use a transformer of scikit-learn, or compute"
    ):
        write_pipeline(pipeline, tmp_path / PIPELINE)


@pytest.mark.parametrize(
    ("library", "hint"), [("xgboost", "n_estimators is max_iter"), ("lightgbm", "num_leaves is max_leaf_nodes")]
)
@pytest.mark.parametrize(
    "model", [Booster(), make_pipeline(StandardScaler(), Booster())], ids=["alone", "in a pipeline"]
)
def test_says_how_to_replace_boosters(
    library: str,
    hint: str,
    model: Any,  # noqa: ANN401 (untyped)
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A model of XGBoost or LightGBM is rejected, and the reason names scikit-learn's and its parameters."""
    monkeypatch.setattr(Booster, "__module__", f"{library}.sklearn")
    with pytest.raises(BundleError, match=f"{library}.*HistGradientBoostingClassifier.*{hint}"):
        write_pipeline(model, tmp_path / PIPELINE)


def test_a_full_disk_is_not_the_pipelines_fault() -> None:
    """An error of the operating system is reported as what it is."""
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit([[1.0], [2.0]], [0, 1])
    with pytest.raises(OSError, match="No space left on device"):
        write_pipeline(pipeline, Path("/dev/full"))


def test_a_frame_of_other_columns_is_not_loaded(on_sklearn: Path) -> None:
    """A layout of other columns than the schema's belongs to another bundle."""
    change_json(on_sklearn / FRAME, lambda layout: layout["columns"].update(other=layout["columns"].pop("monthly_fee")))
    reseal(on_sklearn)
    assert isinstance(error_of(on_sklearn), BundleSchemaMismatch)
