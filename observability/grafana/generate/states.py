"""States as numbers that Grafana maps to texts and colours. Absent data has a state of its own, never a healthy one."""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models

from leeway.telemetry import names
from observability.grafana.generate import foreign
from observability.grafana.generate.queries import Match, largest, or_else, series

GREEN, YELLOW, ORANGE, RED = "green", "yellow", "orange", "red"
BLUE, PURPLE = "#5794f2", "#b877d9"
GREY, CALM = "#7b8087", "#2f4f3a"
"""Grey for unknown, and a muted green for large healthy areas."""

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
ALERTS: Final = {0: ("inactive", CALM), 1: ("pending", YELLOW), 2: ("ticket", ORANGE), 3: ("page", RED)}
DRAINER: Final = {0: ("down", RED), 1: ("up", GREEN)}
TARGETS: Final = {0: ("down", RED), 1: ("up", CALM)}

States = dict[int, tuple[str, str]]


def mapping(states: States) -> list[models.ValueMapping]:
    """A mapping of numbers to texts and colours."""
    options = {
        str(value): models.ValueMappingResult(text=text, color=colour, index=place)
        for place, (value, (text, colour)) in enumerate(states.items())
    }
    return [models.ValueMap(options=options)] if states else []


def unknown(text: str) -> models.ValueMapping:
    """A mapping of absent values to a grey text; without it they would have the colour of the lowest threshold."""
    result = models.ValueMappingResult(text=text, color=GREY, index=0)
    return models.SpecialValueMap(models.DashboardSpecialValueMapOptions(models.SpecialValueMatch.NULL_AND_NAN, result))


def steps(states: States) -> builders.ThresholdsConfig:
    """Thresholds with the states' colours."""
    return thresholds(*((None if place == 0 else float(value), states[value][1]) for place, value in enumerate(states)))


def calm(states: States) -> States:
    """The same states with the muted green, for large areas."""
    return {value: (text, CALM if colour == GREEN else colour) for value, (text, colour) in states.items()}


def thresholds(*pairs: tuple[float | None, str]) -> builders.ThresholdsConfig:
    """Colours from each value upwards; the first has no value and applies below all others."""
    return (
        builders.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=colour) for value, colour in pairs])
    )


def verdict(question: str) -> str:
    """A verdict as a number; unknown if the worker does not report it."""
    return or_else(largest(series(names.DRIFT_VERDICT, Match(names.DRIFT_QUESTION, question))), UNKNOWN)


def recommendation() -> str:
    """The active recommendation as a number."""
    active = {
        value: largest(series(names.DRIFT_RECOMMENDATION_ACTIVE, Match(names.DRIFT_RECOMMENDATION, text)))
        for value, (text, _) in RECOMMENDATIONS.items()
        if text.isupper()
    }
    return or_else(" + ".join(f"({value}) * {expression}" for value, expression in active.items()), -2)


def alerts() -> str:
    """Each alert as a number: pending, firing as a ticket, firing as a page."""
    page, ticket = (f'ALERTS{{alertstate="firing", severity{sign}"page"}}' for sign in ("=", "!="))
    firing = f'3 * {page} or 2 * {ticket} or ALERTS{{alertstate="pending"}}'
    return largest(firing, "alertname")


def quiet() -> str:
    """Zero while Prometheus runs and no alert is firing, else absent."""
    return f'0 * absent(ALERTS{{alertstate="firing"}}) and on () (max({foreign.UP}{{job="prometheus"}}) == 1)'
