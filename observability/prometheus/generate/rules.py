"""The rules of `objectives.yaml` for one budget, as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from leeway.telemetry import names
from observability.prometheus.generate.budgets import LEAST_EVENTS, WINDOWS_S, Alarm, Budget
from observability.prometheus.generate.objectives import (
    DRIFT_HOUR_MISSED,
    DRIFT_RUNS,
    DRIFT_RUNS_TARGET,
    REQUEST_OBJECTIVES,
    Objective,
)

Rule: TypeAlias = dict[str, Any]

DASHBOARD_URL: Final = "http://127.0.0.1:3000/d/leeway-service"
RUNBOOK_URL: Final = "http://127.0.0.1:3000/d/runbook-"


def rule_file(budget: Budget) -> dict[str, Any]:
    """The whole file: ratios every 30 s, budgets every minute, and alerts on both."""
    return {
        "groups": [
            {"name": "objective-ratios", "interval": "30s", "rules": list(_ratios())},
            {"name": "objective-budget", "interval": "1m", "rules": list(_budget_rules(budget))},
            {"name": "objective-alerts", "interval": "30s", "rules": list(_alerts(budget))},
        ]
    }


def _ratios() -> Iterator[Rule]:
    for objective in REQUEST_OBJECTIVES:
        for window in WINDOWS_S:
            events, bad = f"{objective.events_name}{window}", f"{objective.bad_name}{window}"
            yield _record(events, objective.events(window))
            yield _record(bad, objective.bad(window))
            # Without events there is no ratio and no alert: no traffic is neither good nor bad.
            yield _record(f"{objective.ratio_name}{window}", f"{bad} / ({events} > 0)")


def _budget_rules(budget: Budget) -> Iterator[Rule]:
    yield _record("leeway:objective:window_seconds", f"vector({budget.seconds})")
    for alarm in budget.alarms:  # drawn on the Service dashboard
        labels = {"burn": alarm.name, "over": alarm.long}
        yield _record("leeway:objective:burn_rate_limit", f"vector({budget.burn_rate(alarm):.6g})", labels)
    for objective in REQUEST_OBJECTIVES:
        yield from _counts(
            objective.name, objective.target, objective.events(budget.window), objective.bad(budget.window)
        )
    yield _record(DRIFT_HOUR_MISSED, _HOUR_MISSED)
    moments = f"{DRIFT_HOUR_MISSED}[{budget.window}]"
    yield from _counts(DRIFT_RUNS, DRIFT_RUNS_TARGET, f"count_over_time({moments})", f"sum_over_time({moments})")
    yield _record(
        "leeway:objective:budget_left",
        "1 -\n  leeway:objective:bad_events / clamp_min(leeway:objective:events, 1)\n  / (1 - leeway:objective:target)",
    )


def _counts(name: str, target: float, events: str, bad: str) -> Iterator[Rule]:
    labels = {"objective": name}
    yield _record("leeway:objective:target", f"vector({target})", labels)
    yield _record("leeway:objective:events", events, labels)
    yield _record("leeway:objective:bad_events", bad, labels)


# A run with too few rows counts as successful. An hour counts only if applications were scraped an hour ago, so that a
# stack that has just started has missed nothing.
_HOUR_MISSED: Final = f"""\
(
  (
    sum(increase({names.DRIFT_RUNS.prometheus_name}{{{names.prometheus_label(names.ERROR_TYPE)}=~"|too_few_rows"}}[1h]))
    or vector(0)
  ) == bool 0
)
and on () max(up{{job="applications"}} offset 1h)
or vector(0)"""


def _alerts(budget: Budget) -> Iterator[Rule]:
    for objective in REQUEST_OBJECTIVES:
        for alarm in budget.alarms:
            yield _burn(objective, budget, alarm)
    yield {
        "alert": "ObjectiveBudgetSpent",
        "expr": f"leeway:objective:budget_left < 0\nand leeway:objective:bad_events >= {LEAST_EVENTS}",
        "for": "5m",
        "labels": {"severity": "ticket"},
        "annotations": _annotations(
            "ObjectiveBudgetSpent",
            f"The {budget.window} error budget is spent: {{{{ $labels.objective }}}}",
            "More failed in the budget window than the objective {{ $labels.objective }} allows: "
            "{{ $value | humanizePercentage }} of the budget is left. It may have burned too slowly to page.",
        ),
    }


def _burn(objective: Objective, budget: Budget, alarm: Alarm) -> Rule:
    rate = budget.burn_rate(alarm)
    limit = f"{rate * (1 - objective.target):.6g}"
    conditions = (
        f"{objective.ratio_name}{alarm.long} > {limit}",
        f"{objective.ratio_name}{alarm.short} > {limit}",
        f"{objective.bad_name}{alarm.long} >= {LEAST_EVENTS}",
    )
    return {
        "alert": objective.alert,
        "expr": "\nand ".join(conditions),
        "labels": {"severity": "page", "burn": alarm.name, "objective": objective.name},
        "annotations": _annotations(
            objective.alert,
            f"The {objective.name.replace('_', ' ')} budget burns at {rate:.3g} times the sustainable rate",
            f"{{{{ $value | humanizePercentage }}}} {objective.bad_means} in the last {alarm.long}, "
            f"and it continues. The objective is {objective.target * 100:g} %: at this rate, {alarm.spends * 100:g} % "
            f"of the {budget.window} budget is spent in {alarm.long}.",
        ),
    }


def _record(name: str, expr: str, labels: dict[str, str] | None = None) -> Rule:
    return {"record": name, "expr": expr} | ({"labels": labels} if labels else {})


def _annotations(alert: str, summary: str, description: str) -> dict[str, str]:
    return {
        "summary": summary,
        "description": description,
        "dashboard": DASHBOARD_URL,
        "runbook_url": f"{RUNBOOK_URL}{alert}",
    }
