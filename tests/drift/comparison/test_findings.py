from __future__ import annotations

from drift.comparison.findings import performance_window
from leeway.model.performance import Estimate
from tests.drift.observations import CARD


def test_no_labels_at_all_make_an_empty_window() -> None:
    """Nothing labelled yet: no figures, and the card's beside them."""
    window = performance_window([], [], CARD)
    assert (window.labels, window.roc_auc, window.brier) == (0, None, None)
    assert window.card_roc_auc == Estimate(0.84, 0.82, 0.86)


def test_labels_of_one_class_have_a_brier_score_only() -> None:
    """Without both classes there is no ROC AUC."""
    window = performance_window([0, 0, 0], [0.1, 0.2, 0.3], CARD)
    assert window.roc_auc is None
    assert window.brier is not None
