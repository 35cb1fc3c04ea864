from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, roc_auc_score

from leeway.data.population import Population
from leeway.data.tabular import typed_frame
from leeway.model.bundle import Bundle
from leeway.model.card import Card
from leeway.model.drift_plan import DriftPlan
from leeway.model.manifest import SCHEMA, read_json, write_json
from leeway.model.performance import Estimate
from leeway.model.writer import Origin, Reference, Scored, bundle_pipeline, make_card
from leeway.schema import CHURN_SCHEMA, LABEL_COLUMN, PREDICTION_COLUMN, SCORE_COLUMN, FeatureSchema
from tests.leeway.model.bundles import GOLDEN, fitted, golden_card, some_rows, truth


def test_the_reference_is_held_out(bundle: Bundle, people: Population) -> None:
    """The reference is the 30 % that the model was not trained on; with the training rows it is all rows."""
    card, reference = bundle.card, bundle.reference()
    assert len(reference) == card.held_out.rows == round(0.3 * len(people))
    assert card.trained_on.rows is not None
    assert card.trained_on.rows + len(reference) == len(people)
    everyone = pd.DataFrame(people.columns)["avg_session_mins_7d"]
    assert set(reference["avg_session_mins_7d"]) < set(everyone)


def test_the_reference_has_features_score_and_label(bundle: Bundle) -> None:
    """The reference has the features in order, the score that the bundle gives, and the label."""
    reference = bundle.reference()
    assert list(reference.columns) == [*CHURN_SCHEMA.names, SCORE_COLUMN, PREDICTION_COLUMN, LABEL_COLUMN]
    np.testing.assert_allclose(reference[SCORE_COLUMN], truth(bundle, reference), atol=1e-12)
    assert set(reference[LABEL_COLUMN]) == {0, 1}


def test_figures_come_from_the_reference(bundle: Bundle) -> None:
    """ROC AUC, Brier score and share of positives are scikit-learn's on the reference, within their intervals."""
    reference, card = bundle.reference(), bundle.card
    labels, scores = reference[LABEL_COLUMN], reference[SCORE_COLUMN]
    assert card.held_out.label_shares is not None
    assert card.held_out.label_shares["1"] == pytest.approx(labels.mean())
    for found, expected in ((card.figures["roc_auc"], roc_auc_score), (card.figures["brier"], brier_score_loss)):
        assert found.value == pytest.approx(expected(labels, scores), abs=1e-12)
        assert 0 < found.low < found.value < found.high < 1


def test_each_feature_has_its_drift_plan(bundle: Bundle) -> None:
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
    """Numbers with more than five values are compared by Wasserstein, the rest by Jensen–Shannon."""
    assert bundle.card.drift.features[feature].method == method


def test_the_plan_of_a_bundle_is_that_of_its_reference(bundle: Bundle) -> None:
    """Without a bundle, the same rules give the same plan from the reference."""
    reference = bundle.reference()
    assert DriftPlan.from_reference(bundle.schema, reference, reference[SCORE_COLUMN].to_numpy()) == bundle.card.drift


@pytest.mark.parametrize("name", [each.name for each in CHURN_SCHEMA if each.kind in {"number", "integer"}])
def test_the_usual_range_is_the_references(bundle: Bundle, name: str) -> None:
    """Low and high are the reference's 0.5 % and 99.5 % quantiles; minimum and maximum are those of all rows."""
    seen, values = bundle.schema[name].seen, bundle.reference()[name].astype(float)
    assert (seen.low, seen.high) == pytest.approx(tuple(np.quantile(values, [0.005, 0.995])))
    assert seen.minimum is not None
    assert seen.maximum is not None
    assert seen.minimum <= values.min() <= values.max() <= seen.maximum


def test_seen_is_what_the_data_contain(bundle: Bundle, people: Population) -> None:
    """Range, categories and missing share are those of training and held-out rows together."""
    frame = pd.DataFrame(people.columns)
    assert bundle.schema["net_service"].seen.categories == tuple(sorted(frame["net_service"].unique()))
    assert bundle.schema["monthly_fee"].seen.maximum == frame["monthly_fee"].max()
    assert bundle.schema["plan_stream_tv"].seen.missing_share == pytest.approx(frame["plan_stream_tv"].isna().mean())


def test_the_example_is_valid_and_usual(bundle: Bundle) -> None:
    """The example has every feature, is valid, and has no unusual value."""
    example = bundle.card.example
    assert bundle.schema.problems(example) == {}
    assert bundle.encoder.unusual(bundle.encoder.encode([bundle.schema.row(example)])) == [()]


def test_the_score_reference_is_cumulative(bundle: Bundle) -> None:
    """The shares of scores up to each bound never fall, and end at 1."""
    reference = bundle.card.score_reference
    assert list(reference.shares) == sorted(reference.shares)
    assert reference.shares[-1] == 1
    scores = bundle.reference()[SCORE_COLUMN]
    assert reference.shares[9] == pytest.approx((scores <= reference.bounds[9]).mean())


def test_without_labels_the_figures_are_null(tmp_path: Path) -> None:
    """Labels are optional: without them there are no figures, but the rest of the card."""
    bundle = bundle_pipeline(fitted(), Reference(some_rows()[0]), tmp_path / "bundle")
    card = bundle.card
    assert (card.figures, card.baseline, card.held_out.label_shares) == ({}, {}, None)
    assert card.no_better_than_baseline == ()
    assert LABEL_COLUMN not in bundle.reference().columns
    assert bundle.card.drift.features["age"].noise_constant > 0


def test_says_by_which_figures_a_constant_answer_is_as_good() -> None:
    """ROC AUC must surely be above 0.5; Brier score and log loss must be below those of the share of positives."""
    figures = {
        "roc_auc": Estimate(0.6, 0.51, 0.69),
        "brier": Estimate(0.24, 0.2, 0.3),
        "log_loss": Estimate(0.68, 0.6, 0.7),
    }
    good = golden_card(figures=figures, baseline={"roc_auc": 0.5, "brier": 0.25, "log_loss": 0.69})
    assert good.no_better_than_baseline == ()
    worse = {"roc_auc": Estimate(0.6, 0.49, 0.71), "log_loss": Estimate(0.7, 0.6, 0.8)}
    poor = msgspec.structs.replace(good, figures=figures | worse)
    assert poor.no_better_than_baseline == ("ROC AUC", "log loss")


# --- the stored form ------------------------------------------------------------------------------------------------


def golden_inputs() -> tuple[FeatureSchema, Scored]:
    """The schema and the scored reference of the golden files."""
    frame, labels = some_rows(count=200)
    frame["active"] = frame["age"] > 40
    frame.loc[::7, "monthly fee"] = np.nan
    schema = read_json(GOLDEN / SCHEMA, FeatureSchema)
    typed = typed_frame(schema, {name: frame[name].tolist() for name in schema.names})
    scores = np.round(1 / (1 + np.exp(-(frame["age"].to_numpy(dtype=np.float64) - 40) / 5)), 6)
    return schema, Scored(typed, scores, labels.tolist())


@pytest.mark.parametrize(
    ("name", "kind"), [("card.json", Card), ("card_without_labels.json", Card), (SCHEMA, FeatureSchema)]
)
def test_stored_documents_keep_their_shape(name: str, kind: type[Any], tmp_path: Path) -> None:
    """A stored card or schema is read and written again byte for byte."""
    write_json(tmp_path / name, read_json(GOLDEN / name, kind))
    assert (tmp_path / name).read_bytes() == (GOLDEN / name).read_bytes()


def test_a_card_is_made_as_stored() -> None:
    """The card of the same rows has the same members in the same order, and the same figures."""
    schema, scored = golden_inputs()
    made_at = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)
    origin = Origin("loans", "default", "loans.csv", "2026-01-31", 467, 7, 0.25, made_at)
    made = make_card(origin, "2026-01-31-0123abcd", schema, scored, None)
    stored = msgspec.json.decode((GOLDEN / "card.json").read_bytes())
    assert flat(msgspec.json.decode(msgspec.json.encode(made))) == [
        (path, pytest.approx(value) if isinstance(value, float) else value) for path, value in flat(stored)
    ]


@pytest.mark.parametrize("labels", [None, np.zeros(200, dtype=np.int64)], ids=["no labels", "one class"])
def test_a_card_without_figures_is_made_as_stored(labels: NDArray[np.int64] | None) -> None:
    """Without labels of both classes the figures are null; a reason of any characters is stored."""
    schema, scored = golden_inputs()
    origin = Origin(made_at=datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC))
    reason = "ONNX cannot express the pipeline: größer"
    given = None if labels is None else labels.tolist()
    made = make_card(origin, "0123abcd", schema, Scored(scored.frame, scored.outputs, given), reason)
    stored = read_json(GOLDEN / "card_without_labels.json", Card)
    assert made.held_out.label_shares == (None if labels is None else {"0": 1, "1": 0})
    assert msgspec.structs.replace(made, drift=stored.drift, held_out=stored.held_out) == stored


def flat(document: Any, path: str = "") -> list[tuple[str, Any]]:  # noqa: ANN401 (JSON)
    """Every value of a JSON document with its path, in order."""
    if not isinstance(document, dict | list):
        return [(path, document)]
    pairs = document.items() if isinstance(document, dict) else enumerate(document)
    return [each for name, value in pairs for each in flat(value, f"{path}.{name}")]
