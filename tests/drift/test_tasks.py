"""Each kind of model on real data: trained, served, drifted and judged, in one process."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import KNeighborsClassifier

from leeway.model.bundle import Bundle
from leeway.model.figures import FIGURES, NO_PROBABILITIES
from leeway.model.writer import Reference, bundle_pipeline
from leeway.schema import LABEL_COLUMN
from leeway.store.tables import MOST_PROBABILITIES
from tests.datasets import REAL
from tests.drift.test_loop_closed import ask, feed_back, looked_at
from tests.fixtures import RealBundle, Serve

ROWS = 400
EACH = pytest.mark.parametrize("name", REAL)


def rows_like(bundle: Bundle, seed: int = 0, *, labels_from: float = 0.0) -> tuple[list[dict[str, Any]], list[Any]]:
    """Rows drawn from the reference and their labels; `labels_from` leaves out rows with labels below that quantile."""
    reference = bundle.reference().sort_values(LABEL_COLUMN)
    kept = reference.iloc[int(labels_from * len(reference)) :]
    drawn = kept.iloc[np.random.default_rng(seed).integers(0, len(kept), ROWS)].reset_index(drop=True)
    features = pd.DataFrame(drawn[list(bundle.schema.names)]).astype(object)
    labels = drawn[LABEL_COLUMN].tolist()
    return [{"features": row} for row in features.where(features.notna(), None).to_dict("records")], labels


@EACH
def test_the_card_has_the_figures_of_its_task(name: str, real_bundle: RealBundle) -> None:
    """Every figure has its interval and stands beside a constant answer's, which the model beats."""
    card = real_bundle(name).card
    assert tuple(card.figures) == tuple(card.baseline) == FIGURES[card.target.task]
    assert all(each.low <= each.value <= each.high for each in card.figures.values())
    assert card.no_better_than_baseline == ()


@EACH
def test_usual_requests_find_nothing(name: str, real_bundle: RealBundle, serve: Serve) -> None:
    """Rows of the reference: no feature drifts, the answers are as usual, and the figures are as on the card."""
    bundle = real_bundle(name)
    service = serve(bundle)
    items, labels = rows_like(bundle)
    feed_back(service, ask(service, items), labels)
    result = looked_at(service)
    assert {question: each.state for question, each in result.verdicts.items()} == dict.fromkeys(result.verdicts, "ok")
    assert tuple(result.performance.figures) == FIGURES[bundle.schema.target.task]
    assert all(each.current is not None for each in result.performance.figures.values())
    assert result.model.task == bundle.schema.target.task


@EACH
def test_other_requests_move_the_answers(name: str, real_bundle: RealBundle, serve: Serve) -> None:
    """Rows of other classes only, or of great labels only: the answers drift, and so do the labels."""
    bundle = real_bundle(name)
    service = serve(bundle)
    items, labels = rows_like(bundle, labels_from=0.7)
    feed_back(service, ask(service, items), labels)
    result = looked_at(service)
    assert result.verdicts["prediction"].state in {"watch", "act"}
    assert result.prediction.detected
    assert result.target.difference is not None
    assert result.target.difference > 0.3


@EACH
def test_other_labels_ask_for_retraining(name: str, real_bundle: RealBundle, serve: Serve) -> None:
    """Labels that do not follow from the features: performance is act, RETRAIN, while no input drifts."""
    bundle = real_bundle(name)
    service = serve(bundle)
    items, labels = rows_like(bundle)
    feed_back(service, ask(service, items), np.random.default_rng(1).permutation(np.array(labels)).tolist())
    result = looked_at(service)
    assert (result.verdicts["covariate"].state, result.verdicts["performance"].state) == ("ok", "act")
    assert result.recommendation == "RETRAIN"


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A model of more classes than the log keeps probabilities of: which street a point lies in."""
    classes = [f"street {place}" for place in range(MOST_PROBABILITIES + 4)]
    rng = np.random.default_rng(0)
    codes = rng.integers(0, len(classes), 1_000)
    frame = pd.DataFrame({"x": codes % 6 + rng.normal(0, 0.3, 1_000), "y": codes // 6 + rng.normal(0, 0.3, 1_000)})
    labels = np.array(classes)[codes]
    model = KNeighborsClassifier(15).fit(frame[:500], labels[:500])
    return bundle_pipeline(model, Reference(frame[500:], labels[500:]), tmp_path_factory.mktemp("streets") / "bundle")


def test_of_more_than_twenty_classes_log_loss_is_unknown_and_why(streets: Bundle, serve: Serve) -> None:
    """Accuracy and macro F1 are judged; log loss and ROC AUC are null with the reason, and the card has them."""
    service = serve(streets)
    items, labels = rows_like(streets)
    feed_back(service, ask(service, items), labels)
    result = looked_at(service)
    assert result.verdicts["performance"].state == "ok"
    figures = result.performance.figures
    assert {name: each.reason for name, each in figures.items() if each.current is None} == {
        "log_loss": NO_PROBABILITIES,
        "roc_auc_ovr": NO_PROBABILITIES,
    }
    assert all(each.reference is not None for each in figures.values())
    page = (service.database.parent.parent / "reports" / "runs" / result.run_id / "index.html").read_text("utf-8")
    assert page.count(NO_PROBABILITIES) == 2
