"""States as numbers that Grafana turns into words and colours: absent is said, never drawn as all is well."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names
from observability.grafana.generate.queries import Match, largest, or_else, series

GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"
BLUE, PURPLE = "#5794f2", "#b877d9"
GREY, CALM = "#7b8087", "#2f4f3a"
"""Unknown, and a green that does not shout: what is as it should be needs no light."""

UNKNOWN: Final = -1
QUESTIONS: Final = ("quality", "covariate", "prediction", "performance")
VERDICTS: Final = {UNKNOWN: ("unknown", GREY), 0: ("ok", GREEN), 1: ("watch", YELLOW), 2: ("act", RED)}
RECOMMENDATIONS: Final = {
    -2: ("no worker", GREY),
    UNKNOWN: ("UNKNOWN", GREY),
    0: ("NO_ACTION", GREEN),
    1: ("INVESTIGATE", ORANGE),
    2: ("RETRAIN", RED),
}
ALERTS: Final = {0: ("quiet", CALM), 1: ("pending", YELLOW), 2: ("ticket", ORANGE), 3: ("page", RED)}
TARGETS: Final = {0: ("down", RED), 1: ("up", CALM)}

States = dict[int, tuple[str, str]]


def mapping(states: States) -> list[models.ValueMapping]:
    """Numbers to words."""
    options = {
        str(value): models.ValueMappingResult(text=text, color=colour, index=place)
        for place, (value, (text, colour)) in enumerate(states.items())
    }
    return [models.ValueMap(options=options)]


def steps(states: States) -> builders.ThresholdsConfig:
    """Numbers to colours."""
    return thresholds(*((None if place == 0 else float(value), states[value][1]) for place, value in enumerate(states)))


def calm(states: States) -> States:
    """The same for large areas: green does not shout there."""
    return {value: (text, CALM if colour == GREEN else colour) for value, (text, colour) in states.items()}


def thresholds(*pairs: tuple[float | None, str]) -> builders.ThresholdsConfig:
    """Colours from each value on; the first one has no value and goes for all that lies below."""
    return (
        builders.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=colour) for value, colour in pairs])
    )


def verdict(question: str) -> str:
    """One verdict as a number; unknown where the worker does not report it."""
    return or_else(largest(series(names.DRIFT_VERDICT, Match(names.DRIFT_QUESTION, question))), UNKNOWN)


def recommendation() -> str:
    """The recommendation in force as a number."""
    active = {
        value: largest(series(names.DRIFT_RECOMMENDATION_ACTIVE, Match(names.DRIFT_RECOMMENDATION, text)))
        for value, (text, _) in RECOMMENDATIONS.items()
        if text.isupper()
    }
    return or_else(" + ".join(f"({value}) * {expression}" for value, expression in active.items()), -2)


def alerts() -> str:
    """Each alert as a number: pending, firing for a ticket, firing for a page."""
    page, ticket = (f'ALERTS{{alertstate="firing", severity{sign}"page"}}' for sign in ("=", "!="))
    firing = f'3 * {page} or 2 * {ticket} or ALERTS{{alertstate="pending"}}'
    return largest(firing, "alertname")


def quiet() -> str:
    """Zero while nothing fires, else absent."""
    return '0 * absent(ALERTS{alertstate="firing"})'
