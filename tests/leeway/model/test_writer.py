from __future__ import annotations

import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, SplineTransformer, StandardScaler
from sklearn.svm import SVC

from leeway.data.csv_table import TableError
from leeway.model import bundle as bundles
from leeway.model import writer
from leeway.model.bundle import Bundle
from leeway.model.manifest import CARD, MANIFEST, ONNX, SCHEMA, BundleError, Manifest, read_json
from leeway.model.writer import Origin, Reference, bundle_pipeline
from leeway.schema import CHURN_SCHEMA, LABEL_COLUMN, Feature, FeatureSchema, Target
from tests.leeway.model.bundles import NUMBERS, copy_of, files_of, fitted, small_bundle, some_rows


def test_a_feature_without_values_is_bundled(tmp_path: Path) -> None:
    """A column without any value is bundled: nothing was seen of it, so any value of it is unusual."""
    frame, labels = some_rows()
    schema = FeatureSchema(
        (
            Feature("age", "integer"),
            Feature("monthly fee", "number"),
            Feature("c.x-y", "category"),
            Feature("gone", "number", nullable=True),
            Feature("gone text", "category", nullable=True),
        )
    )
    empty = frame.assign(**{"gone": np.nan, "gone text": None})
    bundle = bundle_pipeline(fitted(), Reference(empty, labels), tmp_path / "bundle", schema=schema)
    row = bundle.card.example
    assert (bundle.schema["gone"].seen.low, row["gone"], row["gone text"]) == (None, None, None)
    rows = [bundle.schema.row(each) for each in (row, {**row, "gone": 1.0, "gone text": "x"})]
    assert bundle.encoder.unusual(bundle.encoder.encode(rows)) == [(), ("gone", "gone text")]


def test_the_example_is_not_rounded_out_of_the_usual_range(tmp_path: Path) -> None:
    """The example of a constant feature is the constant itself, whatever its digits."""
    frame, labels = some_rows()
    bundle = bundle_pipeline(fitted(), Reference(frame.assign(**{"monthly fee": 29.14104464}), labels), tmp_path / "b")
    assert bundle.encoder.unusual(bundle.encoder.encode([bundle.schema.row(bundle.card.example)])) == [()]


def test_training_rows_count_as_seen(tmp_path: Path) -> None:
    """A category and a missing value that only the training rows have are not unusual."""
    frame, labels = some_rows()
    training = frame.copy()
    training.loc[0, "c.x-y"] = "rare"
    training["monthly fee"] = training["monthly fee"].where(training.index != 1)
    pipeline = fitted(numbers=make_pipeline(SimpleImputer(), StandardScaler()))
    bundle = bundle_pipeline(pipeline, Reference(frame, labels), tmp_path / "bundle", training=training)
    row = bundle.schema.row({**bundle.card.example, "c.x-y": "rare", "monthly fee": None})
    assert bundle.encoder.unusual(bundle.encoder.encode([row])) == [()]


def test_the_same_data_give_the_same_bundle(small: Bundle, tmp_path: Path) -> None:
    """At another time, the same data give the same version, the same bytes of the schema and the same card."""
    again = small_bundle(tmp_path / "bundle", made_at=datetime(2031, 1, 1, tzinfo=UTC))
    assert again.version == small.version
    assert (again.folder / SCHEMA).read_bytes() == (small.folder / SCHEMA).read_bytes()
    assert again.card == msgspec.structs.replace(small.card, made_at="2031-01-01T00:00:00+00:00")


def test_another_model_or_threshold_gives_another_version(small: Bundle, tmp_path: Path) -> None:
    """The version depends on the scores and on the threshold, and begins with the date of the data."""
    other = small_bundle(tmp_path / "other", fitted(LogisticRegression(C=0.01)))
    stricter = small_bundle(tmp_path / "stricter", decision_threshold=0.3, as_of="2026-01-31")
    assert stricter.card.decision_threshold == 0.3
    assert re.fullmatch(r"2026-01-31-[0-9a-f]{8}", stricter.version)
    assert len({each.version[-8:] for each in (small, other, stricter)}) == 3


def test_the_manifest_names_the_libraries(small: Bundle) -> None:
    """The manifest contains the versions of the libraries that made the model."""
    libraries = read_json(small.folder / MANIFEST, Manifest).libraries
    assert libraries.keys() == {"scikit-learn", "numpy", "onnxruntime", "skl2onnx", "skops"}


# --- the positive class ---------------------------------------------------------------------------------------------


def named(labels: NDArray[np.int64]) -> NDArray[np.object_]:
    """Labels as text: "stayed" comes after "churned" in the model's order."""
    return np.where(labels == 1, "churned", "stayed").astype(object)


@pytest.mark.parametrize(
    ("numbers", "label"), [(StandardScaler(), named), (SplineTransformer(), np.asarray)], ids=["onnx", "scikit-learn"]
)
def test_scores_are_of_the_positive_class(numbers: Any, label: Any, tmp_path: Path) -> None:  # noqa: ANN401 (untyped)
    """Classes with names are served by the probability of the positive one, whatever their order; labels follow it."""
    frame, labels = some_rows()
    frame = frame[NUMBERS]
    pipeline = make_pipeline(numbers, LogisticRegression()).fit(frame, named(labels))
    bundle = bundle_pipeline(pipeline, Reference(frame, label(labels)), tmp_path / "bundle", positive="churned")
    row = bundle.card.example
    assert bundle.card.target == Target("label", "binary", ("churned", "stayed"), "churned")
    assert bundle.score([row])[0] == pytest.approx(pipeline.predict_proba(pd.DataFrame([row]))[0, 0], abs=1e-5)
    assert bundle.reference()[LABEL_COLUMN].tolist() == named(labels).tolist()
    assert bundle.card.figures["roc_auc"].value > 0.7


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "the classes are 'churned' and 'stayed': name the one.*positive='churned' or positive='stayed'"),
        ({"positive": "left"}, "positive='left' is not a class of the pipeline"),
        ({"positive": "stayed"}, "positive class looks inverted: the ROC AUC on the reference is 0.[0-3].*'stayed'"),
    ],
    ids=["unnamed", "unknown", "inverted"],
)
def test_the_positive_class_must_be_right(options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    """Named classes need the positive one; if the labels say that it is the other, the bundle is rejected."""
    frame, labels = some_rows()
    pipeline = fitted().fit(frame, named(labels))
    with pytest.raises(BundleError, match=reason):
        bundle_pipeline(pipeline, Reference(frame, labels), tmp_path / "bundle", **options)
    assert list(tmp_path.iterdir()) == []


# --- what is rejected -----------------------------------------------------------------------------------------------


def double(rows: Any) -> Any:  # noqa: ANN401 (scikit-learn passes anything)
    """A step from outside scikit-learn."""
    return rows * 2


@pytest.mark.parametrize("function", [double, lambda rows: rows])
def test_rejects_code_from_outside(function: Any, tmp_path: Path) -> None:  # noqa: ANN401 (any function)
    """A pipeline with a user's function is rejected by name, and no folder is left."""
    with pytest.raises(BundleError, match=r"outside scikit-learn.*(double|lambda)"):
        small_bundle(tmp_path / "bundle", fitted(numbers=FunctionTransformer(function)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", [SVC(), HistGradientBoostingClassifier()])
def test_rejects_what_has_no_probabilities(model: Any, tmp_path: Path) -> None:  # noqa: ANN401 (untyped)
    """A classifier without probabilities, or one that is not fitted, cannot be served, and the error says so."""
    frame = some_rows()[0][["age"]]
    pipeline = Pipeline([("model", model)])
    if isinstance(model, SVC):
        pipeline.fit(frame, frame["age"] > 40)
    with pytest.raises(BundleError, match="at least two classes with predict_proba"):
        bundle_pipeline(pipeline, Reference(frame), tmp_path / "bundle")


FRAME = some_rows()[0]
INFINITE = FeatureSchema((Feature("age", "number"), Feature("monthly fee", "number"), Feature("c.x-y", "category")))


@pytest.mark.parametrize(
    ("reference", "options", "reason"),
    [
        (Reference(FRAME[["age"]]), {}, r"cannot score its reference.*that it was fitted on"),
        (Reference(FRAME), {"schema": CHURN_SCHEMA}, "'months_active' of the schema is missing"),
        (Reference(FRAME, np.array([0, 1])), {}, "labels must be 0 or 1"),
        (Reference(FRAME, np.array([0.5] * 400)), {}, "labels must be 0 or 1"),
        (Reference(FRAME, np.array([2] * 400)), {}, "labels must be 0 or 1"),
        (Reference(FRAME[:0]), {}, "has no rows"),
        (Reference(FRAME.assign(age=np.inf)), {"schema": INFINITE}, "'age' contains an infinite"),
        (Reference(FRAME), {"origin": Origin(decision_threshold=1.5)}, "threshold is 1.5; it must be from 0 to 1"),
    ],
    ids=["columns", "feature", "few labels", "half labels", "labels of 2", "empty", "infinite", "threshold"],
)
def test_rejects_what_does_not_fit(reference: Reference, options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    """A reference that does not fit the pipeline, its labels or the schema is rejected with the reason."""
    with pytest.raises(BundleError, match=reason):
        bundle_pipeline(fitted(), reference, tmp_path / "bundle", **options)


def test_rejects_a_column_that_cannot_be_a_feature(tmp_path: Path) -> None:
    """A reference from which no schema can be inferred is rejected in the same way as a table."""
    with pytest.raises(TableError, match="column day: "):
        bundle_pipeline(fitted(), Reference(FRAME.assign(day=pd.Timestamp("2026-01-01"))), tmp_path / "bundle")


# --- the folder -----------------------------------------------------------------------------------------------------


def test_a_new_bundle_replaces_the_old_one(small: Bundle, tmp_path: Path) -> None:
    """Writing again replaces the whole bundle; no file of the old one and no temporary file is left."""
    folder = copy_of(small, tmp_path)
    new = small_bundle(folder, fitted(numbers=SplineTransformer()))
    assert bundles.load(folder).version == new.version != small.version
    assert not (folder / ONNX).exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_an_interrupted_write_leaves_the_old_bundle(small: Bundle, tmp_path: Path, error: type[BaseException]) -> None:
    """Whatever interrupts the writer, the old bundle is unchanged and no temporary file is left."""
    folder = copy_of(small, tmp_path)
    before = files_of(folder)

    def write_half() -> None:
        with writer.replacing(folder) as new:
            (new / CARD).write_text("half a ca")
            raise error

    with pytest.raises((error, BundleError)):
        write_half()
    assert files_of(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_a_failed_rename_restores_the_old_bundle(small: Bundle, tmp_path: Path) -> None:
    """If the second of the two renames fails, the first is undone."""
    folder = copy_of(small, tmp_path)
    before = files_of(folder)
    with pytest.raises(BundleError, match="cannot be written"), writer.replacing(folder) as new:
        new.rmdir()  # so that the second rename fails
    assert files_of(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_temporary_folders_of_killed_writers_are_removed(tmp_path: Path) -> None:
    """The next write removes the temporary folder of a writer that was killed over an hour ago."""
    for name, age_s in {"old": writer.STALE_S + 60, "young": 1}.items():
        left = tmp_path / f".bundle.new-{name}"
        (left / "new").mkdir(parents=True)
        os.utime(left, (time.time() - age_s, time.time() - age_s))
    write_nothing(tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".bundle.new-young", "bundle"]


def write_nothing(folder: Path) -> None:
    """Replace `folder` by an empty one."""
    with writer.replacing(folder):
        pass


@pytest.mark.parametrize("foreign", ["thesis.txt", ".git", "model.onnx.bak"])
def test_a_folder_with_other_files_is_never_replaced(tmp_path: Path, foreign: str) -> None:
    """A folder that contains anything but a bundle is rejected, and unchanged."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / foreign).write_text("dear")
    with pytest.raises(BundleError, match=re.escape(foreign)):
        write_nothing(tmp_path / "home")
    assert files_of(tmp_path / "home") == {foreign: b"dear"}


def test_a_file_is_not_replaced(tmp_path: Path) -> None:
    """A file where the folder should be is rejected, and unchanged."""
    (tmp_path / "bundle").write_text("dear")
    with pytest.raises(BundleError, match="a file"):
        write_nothing(tmp_path / "bundle")
    assert (tmp_path / "bundle").read_text() == "dear"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """If the folder cannot be created, the error says so."""
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="file/bundle cannot be written"):
        write_nothing(tmp_path / "file" / "bundle")


def test_a_link_is_followed(tmp_path: Path) -> None:
    """If the folder is a link, its target is replaced, and the link stays."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with writer.replacing(tmp_path / "link") as new:
        (new / CARD).write_text("{}")
    assert (tmp_path / "link").is_symlink()
    assert files_of(tmp_path / "real") == {CARD: b"{}"}
