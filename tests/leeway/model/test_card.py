from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from leeway.data.population import Population
from leeway.model.bundle import LABEL_COLUMN, SCORE_COLUMN, Bundle
from leeway.model.writer import Reference, bundle_pipeline
from leeway.schema import CHURN_SCHEMA
from tests.leeway.model.bundles import fitted, some_rows, truth


def test_reference_is_held_out(bundle: Bundle, people: Population) -> None:
    """The reference is the 30 % that the model was not trained on: together with the training rows, all of them."""
    card, reference = bundle.card, bundle.reference()
    assert len(reference) == card["held_out"]["rows"] == round(0.3 * len(people))
    assert card["trained_on"]["rows"] + len(reference) == len(people)
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
    assert card["roc_auc"]["value"] == pytest.approx(roc_auc_score(labels, scores), abs=1e-12)
    assert card["brier"]["value"] == pytest.approx(brier_score_loss(labels, scores), abs=1e-12)
    assert card["held_out"]["positive_share"] == pytest.approx(labels.mean())


@pytest.mark.parametrize("figure", ["roc_auc", "brier"])
def test_figures_have_their_interval(bundle: Bundle, figure: str) -> None:
    """Each figure lies within its own 95 % interval."""
    estimate = bundle.card[figure]
    assert 0 < estimate["low"] < estimate["value"] < estimate["high"] < 1


def test_each_feature_has_its_drift_method(bundle: Bundle) -> None:
    """Every feature, and the score, has a method, a threshold of 0.1 and a noise constant above 0."""
    drift = bundle.card["drift"]
    assert list(drift["features"]) == list(CHURN_SCHEMA.names)
    for entry in (*drift["features"].values(), drift["score"]):
        assert entry["method"] in {"wasserstein", "jensenshannon"}
        assert entry["threshold"] == 0.1
        assert entry["noise_constant"] > 0


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
    assert bundle.card["drift"]["features"][feature]["method"] == method


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
    example = bundle.card["example"]
    assert bundle.schema.problems(example) == {}
    assert bundle.encoder.unusual(bundle.encoder.encode([bundle.schema.row(example)])) == [()]


def test_score_reference_is_cumulative(bundle: Bundle) -> None:
    """The shares of scores up to each bound never fall, and end at all of them."""
    reference = bundle.card["score_reference"]
    assert reference["shares"] == sorted(reference["shares"])
    assert reference["shares"][-1] == 1
    scores = bundle.reference()[SCORE_COLUMN]
    assert reference["shares"][9] == pytest.approx((scores <= reference["bounds"][9]).mean())


def test_without_labels_the_figures_are_null(tmp_path: Path) -> None:
    """Labels are optional: without them there are no figures, and the rest of the card is there."""
    bundle = bundle_pipeline(fitted(), Reference(some_rows()[0]), tmp_path / "bundle")
    assert (bundle.card["roc_auc"], bundle.card["brier"], bundle.card["held_out"]["positive_share"]) == (None,) * 3
    assert LABEL_COLUMN not in bundle.reference().columns
    assert bundle.card["drift"]["features"]["age"]["noise_constant"] > 0


def test_labels_of_one_class_give_no_figures(tmp_path: Path) -> None:
    """Where only one class is there, neither figure says anything, and both are null."""
    frame, labels = some_rows()
    bundle = bundle_pipeline(fitted(), Reference(frame, np.zeros_like(labels)), tmp_path / "bundle")
    assert (bundle.card["roc_auc"], bundle.card["held_out"]["positive_share"]) == (None, 0)
