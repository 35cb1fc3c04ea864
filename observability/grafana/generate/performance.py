"""Live performance on labels, compared with the model's card."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import timeseries

from leeway.model.figures import FIGURES, SMALLER_IS_BETTER
from leeway.telemetry import names
from observability.grafana.generate import links
from observability.grafana.generate.overrides import dashed, right_axis, stepped
from observability.grafana.generate.panels import COUNT, DISTANCE, SHARE, Query, lines
from observability.grafana.generate.queries import Match, largest, legend, series

LIVE, CARD = Match(names.MODEL_BASIS, "live"), Match(names.MODEL_BASIS, "card")


FIRST: Final = "|".join(figures[0] for figures in FIGURES.values())
"""The first figure of each task: of one model there is one of them."""
ERRORS: Final = "|".join(sorted(SMALLER_IS_BETTER))


def quality() -> timeseries.Panel:
    """The figures that are better the greater they are."""
    return _performance(
        "Quality: live and card",
        "The greater, the better: ROC AUC (0.5 is no better than chance), accuracy and macro F1 of several classes, R²"
        " of a regression (0 is no better than the mean). Live: on the last labelled predictions. Without labels there"
        " is no live line, and the performance verdict is unknown.",
        Match(names.PERFORMANCE_FIGURE, ERRORS, "!~"),
    ).axis_soft_max(1.0)


def errors() -> timeseries.Panel:
    """The figures that are better the smaller they are."""
    return _performance(
        "Error: live and card",
        "The smaller, the better: Brier score and log loss of probabilities; mean absolute error and root mean squared"
        " error of a regression, in the target's unit.",
        Match(names.PERFORMANCE_FIGURE, ERRORS, "=~"),
    )


def first_figure() -> str:
    """The live value of the first figure of the model's task."""
    return largest(series(names.MODEL_PERFORMANCE, LIVE, Match(names.PERFORMANCE_FIGURE, FIRST, "=~")))


def _performance(title: str, description: str, which: Match) -> timeseries.Panel:
    def of(basis: Match) -> str:
        return largest(series(names.MODEL_PERFORMANCE, basis, which), names.PERFORMANCE_FIGURE)

    return (
        lines(
            title,
            description,
            DISTANCE,
            Query(of(LIVE), f"{legend(names.PERFORMANCE_FIGURE)} live"),
            Query(of(CARD), f"{legend(names.PERFORMANCE_FIGURE)} card"),
            floor=None,
            absent="no figures on the model's card",
            links=[links.TO_REPORT],
        )
        .override_by_regexp("/ live$/", stepped())
        .override_by_regexp("/ card$/", [dashed()])
        .decimals(3)
    )


def labels() -> timeseries.Panel:
    """Labels, and how far they are from those of the card."""
    return lines(
        "Labels and target drift",
        "Labels used for the live figures (left); how far their distribution is from the card's, of two classes the"
        " difference of the label rates (right).",
        COUNT,
        Query(
            f"{largest(series(names.MODEL_LABELS, LIVE))} or 0 * {largest(series(names.DRIFT_LAST_CYCLE))}", "labels"
        ),
        Query(largest(series(names.DRIFT_TARGET_DIFFERENCE)), "target difference"),
        links=[links.TO_REPORT],
    ).override_by_name("target difference", right_axis(SHARE, "target", soft_max=0.1))
