from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, roc_auc_score

from leeway.data.frames import typed_frame
from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.model.card import Card
from leeway.model.manifest import SCHEMA, read_json, write_json
from leeway.model.writer import Origin, Reference, bundle_pipeline, make_card
from leeway.schema import CHURN_SCHEMA, LABEL_COLUMN, SCORE_COLUMN, FeatureSchema
from tests.leeway.model.bundles import GOLDEN, fitted, some_rows, truth


def test_reference_is_held_out(bundle: Bundle, people: Population) -> None:
    """The reference is the 30 % that the model was not trained on: together with the training rows, all of them."""
    card, reference = bundle.card, bundle.reference()
    assert len(reference) == card.held_out.rows == round(0.3 * len(people))
    assert card.trained_on.rows is not None
    assert card.trained_on.rows + len(reference) == len(people)
    everyone = pd.DataFrame(people.columns)["avg_session_mins_7d"]
    assert set(reference["avg_session_mins_7d"]) < set(everyone)


def test_reference_holds_features_score_and_label(bundle: Bundle) -> None:
    """The reference has the features in order, the score that the bundle gives, and the label."""
    reference = bundle.reference()
    assert list(reference.columns) == [*CHURN_SCHEMA.names, SCORE_COLUMN, LABEL_COLUMN]
    np.testing.assert_allclose(reference[SCORE_COLUMN], truth(bundle, reference), atol=1e-12)
    assert set(reference[LABEL_COLUMN]) == {0, 1}


def test_figures_come_from_the_reference(bundle: Bundle) -> None:
    """The card's ROC AUC, Brier score and share of positives are scikit-learn's own, on the reference."""
    reference, card = bundle.reference(), bundle.card
    labels, scores = reference[LABEL_COLUMN], reference[SCORE_COLUMN]
    assert card.roc_auc is not None
    assert card.brier is not None
    assert card.roc_auc.value == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert card.brier.value == pytest.approx(brier_score_loss(labels, scores), abs=1e-12)
    assert card.held_out.positive_share == pytest.approx(labels.mean())


@pytest.mark.parametrize("figure", ["roc_auc", "brier"])
def test_figures_have_their_interval(bundle: Bundle, figure: str) -> None:
    """Each figure lies within its own 95 % interval."""
    estimate = getattr(bundle.card, figure)
    assert 0 < estimate.low < estimate.value < estimate.high < 1


def test_each_feature_has_its_drift_method(bundle: Bundle) -> None:
    """Every feature, and the score, has a method, a threshold of 0.1 and a noise constant above 0."""
    drift = bundle.card.drift
    assert list(drift.features) == list(CHURN_SCHEMA.names)
    for entry in (*drift.features.values(), drift.score):
        assert entry is not None
        assert entry.method in {"wasserstein", "jensenshannon"}
        assert entry.threshold == 0.1
        assert entry.noise_constant > 0


@pytest.mark.parametrize(
    ("feature", "method"),
    [
        ("monthly_fee", "wasserstein"),
        ("months_active", "wasserstein"),
        ("unique_devices_30d", "jensenshannon"),
        ("paperless_billing", "jensenshannon"),
        ("net_service", "jensenshannon"),
    ],
)
def test_methods_follow_the_reference(bundle: Bundle, feature: str, method: str) -> None:
    """Numbers of more than five values are compared by Wasserstein, the rest by Jensen–Shannon."""
    assert bundle.card.drift.features[feature].method == method


@pytest.mark.parametrize("name", [each.name for each in CHURN_SCHEMA if each.kind in {"number", "integer"}])
def test_usual_range_is_the_references(bundle: Bundle, name: str) -> None:
    """Low and high are the reference's 0.5 % and 99.5 % quantiles; minimum and maximum are those of all rows."""
    seen, values = bundle.schema[name].seen, bundle.reference()[name].astype(float)
    assert (seen.low, seen.high) == pytest.approx(tuple(np.quantile(values, [0.005, 0.995])))
    assert seen.minimum is not None
    assert seen.maximum is not None
    assert seen.minimum <= values.min() <= values.max() <= seen.maximum


def test_seen_is_what_the_data_held(bundle: Bundle, people: Population) -> None:
    """Range, categories and missing share are those of training and held-out rows together."""
    frame = pd.DataFrame(people.columns)
    assert bundle.schema["net_service"].seen.categories == tuple(sorted(frame["net_service"].unique()))
    assert bundle.schema["monthly_fee"].seen.maximum == frame["monthly_fee"].max()
    assert bundle.schema["plan_stream_tv"].seen.missing_share == pytest.approx(frame["plan_stream_tv"].isna().mean())


def test_example_is_valid(bundle: Bundle) -> None:
    """The docs' example is valid, usual, and has every feature."""
    example = bundle.card.example
    assert bundle.schema.problems(example) == {}
    assert bundle.encoder.unusual(bundle.encoder.encode([bundle.schema.row(example)])) == [()]


def test_score_reference_is_cumulative(bundle: Bundle) -> None:
    """The shares of scores up to each bound never fall, and end at all of them."""
    reference = bundle.card.score_reference
    assert list(reference.shares) == sorted(reference.shares)
    assert reference.shares[-1] == 1
    scores = bundle.reference()[SCORE_COLUMN]
    assert reference.shares[9] == pytest.approx((scores <= reference.bounds[9]).mean())


def test_without_labels_the_figures_are_null(tmp_path: Path) -> None:
    """Labels are optional: without them there are no figures, and the rest of the card is there."""
    bundle = bundle_pipeline(fitted(), Reference(some_rows()[0]), tmp_path / "bundle")
    assert (bundle.card.roc_auc, bundle.card.brier, bundle.card.held_out.positive_share) == (None,) * 3
    assert LABEL_COLUMN not in bundle.reference().columns
    assert bundle.card.drift.features["age"].noise_constant > 0


def test_labels_of_one_class_give_no_figures(tmp_path: Path) -> None:
    """Where only one class is there, neither figure says anything, and both are null."""
    frame, labels = some_rows()
    bundle = bundle_pipeline(fitted(), Reference(frame, np.zeros_like(labels)), tmp_path / "bundle")
    assert (bundle.card.roc_auc, bundle.card.held_out.positive_share) == (None, 0)


def golden_inputs() -> tuple[FeatureSchema, Reference, NDArray[np.float64]]:
    """The schema, reference and scores that the golden files were made of."""
    frame, labels = some_rows(count=200)
    frame["active"] = frame["age"] > 40
    frame.loc[::7, "monthly fee"] = np.nan
    schema = read_json(GOLDEN / SCHEMA, FeatureSchema)
    typed = typed_frame(schema, {name: frame[name].tolist() for name in schema.names})
    scores = np.round(1 / (1 + np.exp(-(frame["age"].to_numpy(dtype=np.float64) - 40) / 5)), 6)
    return schema, Reference(typed, labels), scores


@pytest.mark.parametrize("name", ["card.json", "card_without_labels.json"])
def test_the_stored_card_keeps_its_shape(name: str, tmp_path: Path) -> None:
    """A stored card is read and written again byte for byte."""
    write_json(tmp_path / name, read_json(GOLDEN / name, Card))
    assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()


def test_a_card_is_made_as_stored() -> None:
    """The card of the same rows has the same members in the same order, and the same figures."""
    schema, reference, scores = golden_inputs()
    made_at = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)
    origin = Origin("loans", "default", "loans.csv", "2026-01-31", 467, 7, 0.25, made_at)
    stored = json.loads((GOLDEN / "card.json").read_text())
    made = make_card(origin, "2026-01-31-0123abcd", schema, reference, scores, None)
    assert flat(json.loads(msgspec.json.encode(made))) == [
        (path, pytest.approx(value) if isinstance(value, float) else value) for path, value in flat(stored)
    ]
    bare = make_card(
        Origin(made_at=made_at),
        "0123abcd",
        schema,
        Reference(reference.frame),
        scores,
        "ONNX cannot express the pipeline: größer",
    )
    assert msgspec.structs.replace(bare, drift=made.drift) == msgspec.structs.replace(
        read_json(GOLDEN / "card_without_labels.json", Card), drift=made.drift
    )


def flat(document: Any, path: str = "") -> list[tuple[str, Any]]:  # noqa: ANN401 (JSON)
    """Every value of a JSON document with its path, in order."""
    if not isinstance(document, dict | list):
        return [(path, document)]
    pairs = document.items() if isinstance(document, dict) else enumerate(document)
    return [each for name, value in pairs for each in flat(value, f"{path}.{name}")]
