from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from leeway.data.population import Population
from leeway.data.tabular import TrainingData, infer_schema, typed_frame
from leeway.model.bundle import Bundle
from leeway.model.card import TrainedOn
from leeway.model.training import TrainingError, train
from leeway.model.writer import Origin
from leeway.schema import LABEL_COLUMN, Feature, FeatureSchema
from tests.leeway.model.bundles import some_rows, truth


def data_of(frame: pd.DataFrame, labels: NDArray[np.int64], schema: FeatureSchema | None = None) -> TrainingData:
    """A frame and its labels as training data."""
    schema = schema or infer_schema(frame)
    return TrainingData(schema, typed_frame(schema, {name: frame[name].tolist() for name in schema.names}), labels)


def trained(frame: pd.DataFrame, folder: Path, schema: FeatureSchema | None = None, seed: int = 7) -> Bundle:
    """A model trained on these rows with the labels of `some_rows`."""
    return train(data_of(frame, some_rows(len(frame))[1], schema), folder / "bundle", Origin(), seed=seed)


def test_the_model_finds_the_known_risk(bundle: Bundle) -> None:
    """On held-out rows of the built-in population the ROC AUC is about 0.84."""
    assert 0.78 < bundle.card.figures["roc_auc"].value < 0.9
    assert bundle.card.figures["brier"].value < 0.17


def test_the_card_says_where_the_model_comes_from(bundle: Bundle, people: Population) -> None:
    """The card names source, date, rows and seed."""
    assert bundle.card.trained_on == TrainedOn("the built-in population", "2026-01-31", round(0.7 * len(people)), 7)


def test_the_split_keeps_the_share_of_positives(bundle: Bundle, people: Population) -> None:
    """The held-out part has the share of positives that all rows have."""
    assert bundle.card.held_out.label_shares is not None
    assert bundle.card.held_out.label_shares["1"] == pytest.approx(np.mean(people.labels), abs=0.002)


def test_the_same_seed_gives_the_same_model(tmp_path: Path) -> None:
    """The same data and seed give the same model; another seed gives another split, and so another model."""
    frame = some_rows()[0]
    first, again = trained(frame, tmp_path / "a"), trained(frame, tmp_path / "b")
    other = trained(frame, tmp_path / "c", seed=8)
    assert first.version == again.version != other.version


@pytest.mark.parametrize(
    "columns",
    [["age", "monthly fee"], ["c.x-y"], ["age", "monthly fee", "c.x-y"]],
    ids=["numbers", "categories", "both"],
)
def test_any_mix_of_kinds_is_trained(columns: list[str], tmp_path: Path) -> None:
    """With numbers only, categories only or both, ONNX scores as scikit-learn does."""
    frame = some_rows()[0][columns]
    bundle = trained(frame, tmp_path)
    assert bundle.card.scorer == "onnx", bundle.card.scorer_reason
    rows = [dict(zip(columns, row, strict=True)) for row in frame.itertuples(index=False)]
    assert np.abs(bundle.score(rows) - truth(bundle, frame)).max() <= 1e-5


def test_missing_values_are_trained_on(tmp_path: Path) -> None:
    """Flags, integers and categories may have missing values, and ONNX agrees."""
    frame = some_rows()[0].assign(flag=pd.array([True, None, False, True] * 100, dtype="boolean"))
    frame.loc[::3, "age"] = np.nan
    frame.loc[1::3, "c.x-y"] = None
    bundle = trained(frame, tmp_path)
    assert bundle.card.scorer == "onnx", bundle.card.scorer_reason
    assert all(bundle.schema[name].nullable for name in ("age", "c.x-y", "flag"))


def test_a_column_without_values_is_kept(tmp_path: Path) -> None:
    """A feature without any value, of any kind, is not used by the model but kept in the schema."""
    frame = some_rows()[0][["age"]].assign(number=None, flag=None, text=None)
    schema = FeatureSchema(
        (
            Feature("age", "integer"),
            Feature("number", "number", nullable=True),
            Feature("flag", "flag", nullable=True),
            Feature("text", "category", nullable=True),
        )
    )
    bundle = trained(frame, tmp_path, schema)
    assert bundle.card.scorer == "onnx", bundle.card.scorer_reason
    assert bundle.schema["number"].seen.missing_share == 1


def test_a_constant_column_is_kept(tmp_path: Path) -> None:
    """A feature with one value is kept, and any other value is unusual."""
    bundle = trained(some_rows()[0][["age"]].assign(constant=5), tmp_path)
    rows = [bundle.schema.row({"age": 40, "constant": constant}) for constant in (5, 6)]
    assert bundle.encoder.unusual(bundle.encoder.encode(rows)) == [(), ("constant",)]
    assert bundle.card.drift.features["constant"].noise_constant == 0


def test_a_hundred_rows_are_enough(tmp_path: Path) -> None:
    """A model is trained on a hundred rows; the card states how few its figures come from."""
    bundle = trained(some_rows(100)[0], tmp_path)
    assert (bundle.card.trained_on.rows, bundle.card.held_out.rows) == (70, 30)


def test_too_few_rows_are_rejected(tmp_path: Path) -> None:
    """Fewer than a hundred rows are rejected with their number."""
    with pytest.raises(TrainingError, match=r"99 labelled rows are too few.*100"):
        trained(some_rows(99)[0], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("positives", [0, 9, 391, 400])
def test_one_class_is_rejected(positives: int, tmp_path: Path) -> None:
    """If a class is missing or too rare to split, training is rejected."""
    frame, labels = some_rows()[0], np.arange(400) < positives
    with pytest.raises(TrainingError, match=r"class '[01]' has [09] rows"):
        train(data_of(frame, labels.astype(np.int64)), tmp_path / "bundle", Origin())


def test_held_out_rows_keep_their_order(tmp_path: Path) -> None:
    """The held-out rows are 30 % of all, each once, in their original order, of both classes."""
    frame = pd.DataFrame({"row": np.arange(400.0) + 0.5})
    bundle = trained(frame, tmp_path)
    held_out = bundle.reference()
    assert len(set(held_out["row"])) == 120
    assert held_out["row"].is_monotonic_increasing
    assert set(held_out[LABEL_COLUMN]) == {0, 1}
