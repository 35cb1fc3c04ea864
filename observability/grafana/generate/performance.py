"""Live performance on labels, compared with the model's card."""

from __future__ import annotations

from grafana_foundation_sdk.builders import timeseries

from leeway.telemetry import names
from observability.grafana.generate import links, states
from observability.grafana.generate.overrides import dashed, right_axis, stepped, tint
from observability.grafana.generate.panels import COUNT, DISTANCE, SHARE, Query, lines
from observability.grafana.generate.queries import Match, largest, series

LIVE, CARD = Match(names.MODEL_BASIS, "live"), Match(names.MODEL_BASIS, "card")


def roc_auc() -> timeseries.Panel:
    """ROC AUC."""
    return _performance(
        "ROC AUC: live and card",
        "How well the model ranks: 1 is perfect, 0.5 is no better than chance. Live: on the last labelled predictions."
        " Without labels there is no live line, and the performance verdict is unknown.",
        series(names.MODEL_ROC_AUC, CARD),
        series(names.MODEL_ROC_AUC, LIVE),
        between=(0.5, 1.0),
    )


def brier() -> timeseries.Panel:
    """Brier score."""
    return _performance(
        "Brier score: live and card",
        "Mean squared error of the probabilities: lower is better.",
        series(names.MODEL_BRIER, CARD),
        series(names.MODEL_BRIER, LIVE),
        between=(0.0, 0.25),
    )


def _performance(
    title: str, description: str, card: str, live: str, *, between: tuple[float, float]
) -> timeseries.Panel:
    lowest, highest = between
    return (
        lines(
            title,
            description,
            DISTANCE,
            Query(largest(live), "live"),
            Query(largest(card), "card"),
            floor=None,
            absent="no figures on the model's card",
            links=[links.TO_REPORT],
        )
        .axis_soft_min(lowest)
        .axis_soft_max(highest)
        .override_by_name("live", [*stepped(), tint(states.BLUE)])
        .override_by_name("card", [tint(states.GREEN), dashed()])
        .decimals(3)
    )


def labels() -> timeseries.Panel:
    """Labels, and the difference of the label rates."""
    return lines(
        "Labels and target drift",
        "Labels used for the live figures (left); absolute difference of the two label rates (right).",
        COUNT,
        Query(
            f"{largest(series(names.MODEL_LABELS, LIVE))} or 0 * {largest(series(names.DRIFT_LAST_CYCLE))}", "labels"
        ),
        Query(largest(series(names.DRIFT_TARGET_DIFFERENCE)), "target difference"),
        links=[links.TO_REPORT],
    ).override_by_name("target difference", right_axis(SHARE, "target", soft_max=0.1))
