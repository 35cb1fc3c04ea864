"""Error budgets of the objectives: their windows and burn-rate alerts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WINDOWS_S: Final = {"5m": 300, "30m": 1_800, "1h": 3_600, "6h": 21_600}
"""The windows of recorded ratios: the long and short windows of the alerts."""

LEAST_EVENTS: Final = 10
"""The minimum number of failed requests for an alert: one failure in twenty requests is 5 %, but no incident."""


@dataclass(frozen=True)
class Alarm:
    """Fires if `spends` of the budget is spent in the `long` window, and the `short` window shows that it continues."""

    name: str
    long: str
    short: str
    spends: float


@dataclass(frozen=True)
class Budget:
    """The window of an objective, in Prometheus' notation and in seconds, with its alerts."""

    window: str
    seconds: int
    alarms: tuple[Alarm, Alarm]

    def burn_rate(self, alarm: Alarm) -> float:
        """The burn rate at which `alarm` fires: 1 spends the budget exactly in its window.

        `spends` × budget window ÷ alarm window: Google, The Site Reliability Workbook, chapter 5, "Alerting on SLOs".
        """
        return alarm.spends * self.seconds / WINDOWS_S[alarm.long]


BUDGETS: Final = {
    # Both budgets have the same alert windows: they determine how soon a problem is noticed, and in shorter windows a
    # ratio is noise. They differ in the share of the budget that is spent before an alert fires. For 30 days it is the
    # workbook's 2 % in one hour (burn rate 14.4) and 5 % in six hours (6). But one hour is 4 % of a day, so spending
    # 2 % of a one-day budget in one hour meets the objective. For one day it is a quarter (6) and a half (2).
    "1d": Budget("1d", 86_400, (Alarm("fast", "1h", "5m", 0.25), Alarm("slow", "6h", "30m", 0.50))),
    "30d": Budget("30d", 2_592_000, (Alarm("fast", "1h", "5m", 0.02), Alarm("slow", "6h", "30m", 0.05))),
}
