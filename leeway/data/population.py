"""A built-in, synthetic population of a streaming provider's customers, so that no download is needed.

The same arguments give the same customers (on the same version of NumPy). The distributions of the features follow
those of a real provider.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from string import ascii_uppercase
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from leeway.data.churn_risk import DSL, FIBER, NO_INTERNET, SERVICES, Numbers, chance_of_leaving
from leeway.schema import CHURN_SCHEMA, Feature, Value

AS_OF = date(2024, 1, 31)
"""The date of the population's first month."""

Flags: TypeAlias = NDArray[np.bool_]

CUSTOMERS: Final = 7_043
_MISSING_WITHOUT_INTERNET: Final = ("plan_stream_tv", "plan_stream_movies")


@dataclass(frozen=True)
class Population:
    """All customers at the end of a month. Every list has one entry per customer; None is a missing value.

    `labels` are 1 for a customer who leaves, else 0.
    """

    user_ids: list[str]
    columns: dict[str, list[Value]]
    labels: list[int]

    def __len__(self) -> int:
        return len(self.user_ids)

    def row(self, place: int) -> dict[str, Value]:
        """The features of one customer, as in a request."""
        return {name: values[place] for name, values in self.columns.items()}


def population(
    month: int = 0,
    *,
    customers: int = CUSTOMERS,
    seed: int = 7,
    covariate_drift: float = 0.0,
    concept_drift: float = 0.0,
) -> Population:
    """Generate the customers at the end of a month (0, 1, 2, …), and who of them leaves.

    **From month to month** connection, plans, fee and billing stay the same. `months_active` increases by one, up to
    72; a contract that ends starts again at 0, which keeps old and new customers in balance. The other features vary
    around each customer's own level. None of this is drift. A smaller population has the first customers of a larger
    one.

    **Who leaves** follows from a known risk, see `leeway.data.churn_risk`: about 26 %, and a good model of it has a ROC
    AUC of 0.84.

    **Covariate drift**, from 0 (none) to 1, is a network that gets worse, and moves six features. At 1, customers watch
    5 h a month less, sessions are 25 % shorter, there are 1.5 times as many skips, 1.7 times as much rebuffering and
    twice as many tickets (and more, because rebuffering causes tickets), and tickets take 3 h longer to close; in
    between, proportionally. The risk function does not change, so more customers leave: about 47 % at 1.

    **Concept drift**, from 0 (none) to 1, changes no feature, but replaces the risk function by another one. At 1, a
    model of the old risk is no better than chance. About as many customers leave.

    Raises:
        ValueError: `month`, `customers` or `seed` is negative, or a drift is not between 0 and 1.
    """
    if min(month, customers, seed) < 0 or not (0 <= covariate_drift <= 1 and 0 <= concept_drift <= 1):
        raise ValueError("month, customers and seed must not be negative, and a drift must be between 0 and 1")
    draws = _Draws(seed, customers)
    traits = _traits(draws)
    values = {**traits, **_month(draws, traits, month, covariate_drift)}
    labels = draws.chance("label", chance_of_leaving(values, concept_drift), month)
    return Population(
        user_ids=[_user_id(place) for place in range(customers)],
        columns={feature.name: _column(feature, values) for feature in CHURN_SCHEMA},
        labels=labels.astype(int).tolist(),
    )


class _Draws:
    """Random numbers, with an independent stream for each name and month."""

    def __init__(self, seed: int, customers: int) -> None:
        self._seed, self._customers = seed, customers

    def uniform(self, name: str, month: int = -1) -> Numbers:
        """Uniform numbers from 0 to 1. Without a month, they are the same every month (also below)."""
        return self._stream(name, month).random(self._customers)

    def chance(self, name: str, share: float | Numbers, month: int = -1) -> Flags:
        """True for this share of the customers."""
        return self.uniform(name, month) < share

    def normal(self, name: str, month: int = -1) -> Numbers:
        """Standard normal numbers."""
        return self._stream(name, month).standard_normal(self._customers)

    def counts(self, name: str, month: int, means: Numbers) -> Numbers:
        """Numbers of events (Poisson), with a mean for each customer."""
        return self._stream(name, month).poisson(means).astype(np.float64)

    def _stream(self, name: str, month: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, month + 1, zlib.crc32(name.encode())])


def _traits(draws: _Draws) -> dict[str, Numbers]:
    """What does not change: connection, plans, fee, billing, contract, and the levels of what changes."""
    service = np.searchsorted([0.344, 0.784], draws.uniform("service"), side="right")
    internet = service != NO_INTERNET
    tv = internet & draws.chance("tv", 0.5)
    movies = internet & draws.chance("movies", np.where(tv, 0.7, 0.3))
    stays, length = draws.chance("stays", 0.8), draws.uniform("length")
    contract = np.floor(np.where(stays, 73 + 22 * length, 3 * (40 / 3) ** length))  # in months
    elapsed = np.floor(contract * draws.uniform("elapsed"))
    extras = (0.8 * draws.uniform("extras") + 0.35 * np.minimum(elapsed, 72) / 72).clip(0, 1)
    fee = np.choose(service, [28.0, 68.0, 18.5]) + np.choose(service, [40.0, 24.0, 7.0]) * extras
    fee = fee + 10.0 * tv + 10.0 * movies + draws.normal("fee")
    streams = tv.astype(np.float64) + movies
    return {
        "net_service": service.astype(np.float64),
        "plan_stream_tv": tv.astype(np.float64),
        "plan_stream_movies": movies.astype(np.float64),
        "paperless_billing": draws.chance("paperless", np.choose(service, [0.55, 0.72, 0.4])).astype(np.float64),
        "monthly_fee": np.round(fee.clip(18.25, 118.75) * 20) / 20,
        "contract": contract,
        "elapsed": elapsed,
        "devices": np.floor(1 + 3 * draws.uniform("devices")),
        "watching": 25.3 + 1.5 * internet + 2.0 * (service == FIBER) + 3.2 * streams + 4.4 * draws.normal("watching"),
        "taste": draws.normal("taste"),
        "haste": draws.normal("haste"),
    }


def _month(draws: _Draws, traits: Mapping[str, Numbers], month: int, drift: float) -> dict[str, Numbers]:
    """What changes from month to month; `drift` is the strength of covariate drift, 0 to 1."""
    taste, haste, watching = traits["taste"], traits["haste"], traits["watching"]
    stalls = np.where(traits["net_service"] == DSL, 3.0, 2.0) * np.exp(0.1 * haste) * (1 + 0.7 * drift)
    rebuffering = draws.counts("rebuffering", month, stalls)
    session = np.exp(3.31 + 0.012 * (watching - 30) + 0.22 * taste + 0.18 * draws.normal("session", month))
    resolution = 10 + 2 * haste + 3.3 * draws.normal("resolution", month) + 3 * drift
    new_devices = draws.chance("new devices", 0.1, month)
    return {
        "months_active": np.minimum((traits["elapsed"] + month) % traits["contract"], 72),
        "watch_hours_30d": (watching + 3 * draws.normal("watching", month) - 5 * drift).clip(0.5, 720),
        "avg_session_mins_7d": session * (1 - 0.25 * drift),
        "unique_devices_30d": np.where(
            new_devices, np.floor(1 + 3 * draws.uniform("devices", month)), traits["devices"]
        ),
        "skips_7d": draws.counts("skips", month, 5 * np.exp(0.12 * haste) * (1 + 0.5 * drift)),
        "rebuffer_events_7d": rebuffering,
        "failed_payments_90d": draws.counts("payments", month, 0.16 * np.exp(0.3 * taste)),
        "support_tickets_90d": draws.counts("tickets", month, (0.16 + 0.06 * rebuffering) * (1 + drift)),
        "ticket_avg_resolution_hrs_90d": np.round(resolution.clip(1, 2_160), 1),
    }


def _column(feature: Feature, values: Mapping[str, Numbers]) -> list[Value]:
    """A feature's values as plain Python values of its kind."""
    numbers = values[feature.name]
    column: list[Value]
    if feature.kind == "category":
        column = [SERVICES[place] for place in numbers.astype(int).tolist()]
    elif feature.kind == "flag":
        column = (numbers == 1).tolist()
    else:
        column = numbers.astype(np.int64 if feature.kind == "integer" else np.float64).tolist()
    if feature.name in _MISSING_WITHOUT_INTERNET:
        internet = (values["net_service"] != NO_INTERNET).tolist()
        column = [value if connected else None for value, connected in zip(column, internet, strict=True)]
    return column


def _user_id(place: int) -> str:
    """Four digits, a dash and five capitals; `7590-VHVEG` is the first, and all are unique."""
    digits, rest = divmod((_FIRST_ID + place * _ID_STRIDE) % _IDS, 26**5)
    letters = ""
    for _ in range(5):
        rest, letter = divmod(rest, 26)
        letters = ascii_uppercase[letter] + letters
    return f"{digits:04d}-{letters}"


_IDS: Final = 10_000 * 26**5
_FIRST_ID: Final = 7_590 * 26**5 + 9_733_834
_ID_STRIDE: Final = 74_207_281_633  # coprime with _IDS, so that ids are unique
