"""How long an objective is promised for, and how fast its error budget may burn. Constants and arithmetic only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WINDOWS_S: Final = {"5m": 300, "30m": 1_800, "1h": 3_600, "6h": 21_600}
"""Over how long ratios are recorded: the long and the short windows of the alarms."""

LEAST_EVENTS: Final = 10
"""So many requests must have gone wrong before a ratio means anything: one of twenty is 5 %, and no incident."""


@dataclass(frozen=True)
class Alarm:
    """Fires where `spends` of the budget went in the `long` window, and the `short` one says that it goes on."""

    name: str
    long: str
    short: str
    spends: float


@dataclass(frozen=True)
class Budget:
    """The time over which objectives are promised: `window` as Prometheus writes it, and in seconds."""

    window: str
    seconds: int
    alarms: tuple[Alarm, Alarm]

    def burn_rate(self, alarm: Alarm) -> float:
        """How many times faster than just sustainable the budget burns when `alarm` fires.

        `spends` × budget window ÷ alarm window: Google, The Site Reliability Workbook, chapter 5, "Alerting on SLOs".
        """
        return alarm.spends * self.seconds / WINDOWS_S[alarm.long]


BUDGETS: Final = {
    # The alarms' windows are the same for both: they say how soon trouble is noticed, and in shorter ones a ratio is
    # chance. What differs is how much of the budget may go before someone is called. Of 30 days' budget it is the
    # workbook's 2 % in an hour (burn rate 14.4) and 5 % in six (6). But an hour is itself 4 % of a day: 2 % of a day's
    # budget in an hour is a service that keeps its promise. There it is a quarter (6) and a half (2).
    "1d": Budget("1d", 86_400, (Alarm("fast", "1h", "5m", 0.25), Alarm("slow", "6h", "30m", 0.50))),
    "30d": Budget("30d", 2_592_000, (Alarm("fast", "1h", "5m", 0.02), Alarm("slow", "6h", "30m", 0.05))),
}
