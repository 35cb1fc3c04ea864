"""Features as numbers, and how well a model does, for the tests of the population."""

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
"""What the drift of the population, a worse network, moves."""


def split(made: Population) -> tuple[list[int], list[int]]:
    """Places to fit on and places held out."""
    fit_on, held_out = train_test_split(list(range(len(made))), test_size=0.3, random_state=0, stratify=made.labels)
    return fit_on, held_out


def column(made: Population, name: str) -> NDArray[np.float64]:
    """A feature as numbers, missing values as NaN."""
    values = [SERVICES.index(value) if isinstance(value, str) else value for value in made.columns[name]]
    return np.array([float("nan") if value is None else float(value) for value in values])


def numbers(made: Population, name: str) -> NDArray[np.float64]:
    """A feature as numbers, missing values left out."""
    values = column(made, name)
    return values[~np.isnan(values)]


def matrix(made: Population) -> NDArray[np.float64]:
    """All features, shape (n, 14)."""
    return np.column_stack([column(made, name) for name in CHURN_SCHEMA.names])


def auc(model: HistGradientBoostingClassifier, made: Population, places: list[int] | None = None) -> float:
    """ROC AUC of the model on these customers."""
    chosen = list(range(len(made))) if places is None else places
    return float(roc_auc_score(np.array(made.labels)[chosen], model.predict_proba(matrix(made)[chosen])[:, 1]))
