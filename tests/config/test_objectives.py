from __future__ import annotations

from pathlib import Path

import pytest

from leeway.telemetry import names
from observability.prometheus.generate.__main__ import main, render
from observability.prometheus.generate.budgets import BUDGETS, WINDOWS_S, Budget
from observability.prometheus.generate.objectives import (
    AVAILABILITY,
    BATCH_LATENCY,
    LATENCY,
    REQUEST_OBJECTIVES,
    Objective,
    latency_objective,
)
from tests.config.promtool_cases import Case, rule_text, run_cases

GROUPS = ("traffic", "drift-ages", "objective-ratios", "objective-budget", "objective-alerts")
EVERY_MINUTE = 100_000
BUDGET = pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
_REQUESTS = names.HTTP_REQUEST_DURATION.prometheus_name


def series(part: str, route: str, status: str, **more: str) -> str:
    """One series of the request histogram."""
    labels = {"job": "s", "instance": "a", "http_route": route, "http_response_status_code": status} | more
    matchers = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{_REQUESTS}_{part}{{{matchers}}}"


def traffic(objective: Objective, bad: str, good: str) -> dict[str, str]:
    """Requests of which some are bad for `objective`; `bad` and `good` are values in promtool's notation."""
    if objective is AVAILABILITY:
        return {series("count", "/predict", "500"): bad, series("count", "/predict", "200"): good}
    route, bound = {LATENCY.name: ("/predict", "0.05"), BATCH_LATENCY.name: ("/predict/batch", "1.0")}[objective.name]
    total = f"0+{EVERY_MINUTE}x60"
    return {series("count", route, "200"): total, series("bucket", route, "200", le=bound): good}


def burning(objective: Objective, rate: float, fires: set[str], name: str, stops_at: int = 60) -> Case:
    """An hour in which the budget burns at `rate`, until minute `stops_at`; which alarms fire at its end but one."""
    bad = round(rate * (1 - objective.target) * EVERY_MINUTE)
    good, rest = EVERY_MINUTE - bad, 60 - stops_at
    stopped = f" {bad * stops_at}x{rest - 1}" if rest else ""
    went_on = f" {good * stops_at + EVERY_MINUTE}+{EVERY_MINUTE}x{rest - 1}" if rest else ""
    labels = {f'{{burn="{alarm}"}}': 1.0 for alarm in sorted(fires)}
    return Case(
        f"{objective.name}: {name}",
        traffic(objective, f"0+{bad}x{stops_at}{stopped}", f"0+{good}x{stops_at}{went_on}"),
        "1m",
        f'sum by (burn) (ALERTS{{alertname="{objective.alert}", alertstate="firing"}})',
        "59m",
        labels,
    )


def cases(budget: Budget) -> list[Case]:
    """Each alarm of each objective a little over its burn rate, and a little under it."""
    fast, slow = (budget.burn_rate(alarm) for alarm in budget.alarms)
    return [
        case
        for objective in REQUEST_OBJECTIVES
        for case in (
            burning(objective, 1.05 * fast, {"fast", "slow"}, "a little over the fast alarm's rate"),
            burning(objective, 0.95 * fast, {"slow"}, "a little under it"),
            burning(objective, 1.05 * slow, {"slow"}, "a little over the slow alarm's rate"),
            burning(objective, 0.95 * slow, set(), "a little under it as well"),
            burning(objective, 3 * fast, {"slow"}, "three times over, but not for ten minutes now", stops_at=49),
        )
    ]


@BUDGET
def test_alarms_fire_at_their_burn_rate(budget: Budget, tmp_path: Path) -> None:
    """Whatever the budget's window, an alarm fires over its burn rate, not under it, and not when it is over."""
    rules = {"recording.yaml": rule_text("recording.yaml"), "objectives.yaml": render(budget.window)}
    result = run_cases(tmp_path, cases(budget), rules, GROUPS)
    assert result.returncode == 0, result.stdout + result.stderr


def test_thirty_days_burn_as_in_the_workbook() -> None:
    """2 % of 30 days in an hour is a burn rate of 14.4, 5 % in six hours one of 6."""
    budget = BUDGETS["30d"]
    assert [budget.burn_rate(alarm) for alarm in budget.alarms] == pytest.approx([14.4, 6.0])


@BUDGET
def test_a_kept_promise_calls_nobody(budget: Budget) -> None:
    """No alarm fires at a rate that the budget could sustain."""
    assert all(budget.burn_rate(alarm) > 1 for alarm in budget.alarms)


@BUDGET
def test_alarms_look_at_recorded_windows(budget: Budget) -> None:
    """Both windows of an alarm are recorded, and the short one is the workbook's twelfth of the long one."""
    for alarm in budget.alarms:
        assert WINDOWS_S[alarm.short] * 12 == WINDOWS_S[alarm.long]


def test_a_latency_that_no_bucket_bounds_is_refused() -> None:
    """An objective between two bucket bounds could only be guessed."""
    with pytest.raises(ValueError, match="60 s is no bucket bound"):
        latency_objective("latency", 0.99, "/predict", 60, "leeway:predictions", "X", "x")


def test_one_setting_makes_it_a_month(tmp_path: Path) -> None:
    """`--window 30d` is all it takes."""
    output = tmp_path / "objectives.yaml"
    assert main(["--window", "30d", "--output", str(output)]) == 0
    assert "[30d]" in output.read_text(encoding="utf-8")
    assert "[1d]" not in output.read_text(encoding="utf-8")
