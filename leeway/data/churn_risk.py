"""The churn risk of the built-in population. It is known, and so is the best possible model of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Numbers: TypeAlias = NDArray[np.float64]
"""One number per customer, shape (n,). Flags are 0 or 1, categories their index in `SERVICES`."""

SERVICES: Final = ("DSL", "Fiber optic", "No")
DSL, FIBER, NO_INTERNET = range(3)

INTERCEPT: Final = -1.57
STEEPNESS: Final = 1.8
"""The log odds of leaving are INTERCEPT + STEEPNESS × risk. With these values 26 % leave and a good model has a ROC AUC
of 0.84."""


def chance_of_leaving(values: Mapping[str, Numbers], concept_drift: float = 0.0) -> Numbers:
    """The probability that customers with these features leave.

    `concept_drift`, from 0 to 1, replaces `risk` by `turned_risk`; at 1 it does so completely.
    """
    angle = concept_drift * np.pi / 2
    log_odds = INTERCEPT + STEEPNESS * (np.cos(angle) * risk(values) + np.sin(angle) * turned_risk(values))
    return np.asarray(1 / (1 + np.exp(-log_odds)))


def risk(values: Mapping[str, Numbers]) -> Numbers:
    """The risk of leaving, with mean 0 and standard deviation 1 without drift.

    It increases for new customers, fibre, paperless bills, failed payments, tickets and rebuffering; it decreases with
    hours watched and long sessions. It has two interactions: fibre in the first year, and tickets that take long.
    """
    months, fiber = values["months_active"], values["net_service"] == FIBER
    tickets = values["support_tickets_90d"]
    raw = (
        -0.9 * (months - 32) / 24
        + 0.9 * fiber
        - 0.8 * (values["net_service"] == NO_INTERNET)
        + 0.4 * values["paperless_billing"]
        + 0.6 * values["failed_payments_90d"]
        + 0.4 * tickets
        + 0.2 * (values["rebuffer_events_7d"] - 2.3)
        - 0.3 * (values["watch_hours_30d"] - 30) / 6.7
        - 0.3 * (values["avg_session_mins_7d"] - 29) / 9
        + 0.9 * fiber * (months < 12)  # noqa: PLR2004 (a year)
        + 0.08 * tickets * (values["ticket_avg_resolution_hrs_90d"] - 10)
    )
    return np.asarray((raw - 0.77) / 1.45)


def turned_risk(values: Mapping[str, Numbers]) -> Numbers:
    """The risk after concept drift, with mean 0 and standard deviation 1, almost independent of `risk`.

    It increases for old customers, those without internet or with one device, skips, tickets and a slow help desk. It
    has one interaction: a high fee for few hours watched.
    """
    raw = (
        0.25 * (values["months_active"] - 32) / 24
        - 0.1 * (values["net_service"] == FIBER)
        + 0.4 * (values["net_service"] == NO_INTERNET)
        + 0.6 * (values["skips_7d"] - 5) / 2.4
        + 0.6 * (values["unique_devices_30d"] == 1)
        + 0.6 * values["support_tickets_90d"]
        + 0.6 * (values["ticket_avg_resolution_hrs_90d"] - 10) / 3.9
        + 0.5 * (values["monthly_fee"] > 80) * (values["watch_hours_30d"] < 30)  # noqa: PLR2004 (see the docstring)
    )
    return np.asarray((raw - 0.517) / 1.045)
