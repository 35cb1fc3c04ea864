"""Features as numbers, and a model of a month."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

from leeway.data.churn_risk import SERVICES
from leeway.data.population import Population
from leeway.schema import CHURN_SCHEMA

MOVED = {
    "watch_hours_30d",
    "avg_session_mins_7d",
    "skips_7d",
    "rebuffer_events_7d",
    "support_tickets_90d",
    "ticket_avg_resolution_hrs_90d",
}
"""The features that covariate drift changes: those of a network that gets worse."""


def column(made: Population, name: str) -> NDArray[np.float64]:
    """A feature as numbers; missing values are NaN."""
    values = [SERVICES.index(value) if isinstance(value, str) else value for value in made.columns[name]]
    return np.array([float("nan") if value is None else float(value) for value in values])


def numbers(made: Population, name: str) -> NDArray[np.float64]:
    """A feature as numbers, without missing values."""
    values = column(made, name)
    return values[~np.isnan(values)]


class ChurnModel:
    """Gradient boosting, fitted on 70 % of a month."""

    def __init__(self, made: Population) -> None:
        fit_on, self.held_out = train_test_split(
            list(range(len(made))), test_size=0.3, random_state=0, stratify=made.labels
        )
        self._trees = HistGradientBoostingClassifier(
            learning_rate=0.05, max_iter=80, max_leaf_nodes=8, min_samples_leaf=40, random_state=0
        ).fit(_matrix(made)[fit_on], np.array(made.labels)[fit_on])

    def auc(self, made: Population, rows: list[int] | None = None) -> float:
        """The ROC AUC on these customers."""
        chosen = list(range(len(made))) if rows is None else rows
        scores = self._trees.predict_proba(_matrix(made)[chosen])[:, 1]
        return float(roc_auc_score(np.array(made.labels)[chosen], scores))


def _matrix(made: Population) -> NDArray[np.float64]:
    return np.column_stack([column(made, name) for name in CHURN_SCHEMA.names])
