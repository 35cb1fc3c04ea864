from __future__ import annotations

import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from drift.telemetry.otel import UNKNOWN_KINDS
from leeway.telemetry import names
from observability.prometheus.generate.__main__ import FILE, main, render
from observability.prometheus.generate.budgets import BUDGETS, WINDOWS_S, Budget
from observability.prometheus.generate.objectives import (
    AVAILABILITY,
    BATCH_LATENCY,
    LATENCY,
    REQUEST_OBJECTIVES,
    Objective,
    latency_objective,
)
from observability.prometheus.generate.rules import DASHBOARD_URL
from tests.config.promtool import (
    ALERTS,
    RECORDED,
    RULE_TESTS,
    Case,
    rule_text,
    run_cases,
    run_tool,
    shown,
)
from tests.config.series import OTHERS, ROOT, RULES, Query, known_series, label_values, our_series, rules_of

FOLDER = ROOT / "observability" / "prometheus"
CONFIG: dict[str, Any] = yaml.safe_load((FOLDER / "prometheus.yaml").read_text(encoding="utf-8"))
JOBS = {job["job_name"]: job for job in CONFIG["scrape_configs"]}
DAY_S = 86_400


def test_prometheus_accepts_its_configuration() -> None:
    """`promtool check config` finds no problem."""
    result = run_tool(
        "promtool", FOLDER, "check", "config", "--lint=all", "--lint-fatal", str(FOLDER / "prometheus.yaml")
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_component_is_scraped() -> None:
    """Prometheus scrapes the applications, the Collector, itself, Jaeger and Alertmanager."""
    assert set(JOBS) == {"applications", "otel-collector", "prometheus", "jaeger", "alertmanager"}


def test_the_scrape_interval_is_the_export_interval() -> None:
    """Each job is scraped every five seconds, as often as the applications export."""
    assert CONFIG["global"]["scrape_interval"] == "5s"
    assert [name for name, job in JOBS.items() if "scrape_interval" in job] == []


def test_applications_keep_their_job_and_instance() -> None:
    """Only the applications set their own `job` and `instance`."""
    assert [name for name, job in JOBS.items() if job.get("honor_labels")] == ["applications"]


def test_a_missing_alertmanager_is_not_a_failing_target() -> None:
    """Alertmanager is discovered by DNS, for alerts and as a target, so it is no target if it does not run."""
    (manager,) = CONFIG["alerting"]["alertmanagers"]
    assert set(manager) == {"dns_sd_configs"}
    assert JOBS["alertmanager"].keys() == {"job_name", "dns_sd_configs"}
    assert manager["dns_sd_configs"] == JOBS["alertmanager"]["dns_sd_configs"]


def test_retention_covers_every_budget() -> None:
    """The retention covers the budget windows of one day and 30 days."""
    kept = re.fullmatch(r"(\d+)d", CONFIG["storage"]["tsdb"]["retention"]["time"])
    assert kept is not None
    assert int(kept[1]) * DAY_S > max(budget.seconds for budget in BUDGETS.values())


def test_rules_are_loaded_without_their_tests() -> None:
    """Prometheus loads all rule files and no promtool test."""
    loaded = [
        path
        for path in [*RULES, *RULE_TESTS]
        if any(fnmatch(path.relative_to(FOLDER).as_posix(), pattern) for pattern in CONFIG["rule_files"])
    ]
    assert loaded == RULES
    assert len(RULE_TESTS) >= len(RULES)


OBJECTIVE_ALERTS = {"PredictionErrorsBurnBudget", "PredictionLatencyBurnsBudget", "BatchLatencyBurnsBudget"}
LOST_RECORDS = {"PredictionsUnrecorded", "SpoolNearLimit"}
DASHBOARDS = {DASHBOARD_URL.replace("service", name) for name in ("home", "service", "drift", "pipeline")}
ALERT = pytest.mark.parametrize("name", sorted(ALERTS))
RULE_TEST = pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)


def test_prometheus_accepts_the_rules() -> None:
    """`promtool check rules` finds no problem."""
    result = run_tool(
        "promtool", FOLDER, "check", "rules", "--lint=all", "--lint-fatal", *(str(each) for each in RULES)
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.long
@RULE_TEST
def test_promtool_tests_pass(path: Path) -> None:
    """Each promtool test passes."""
    result = run_tool("promtool", FOLDER, "test", "rules", str(path))
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_rule_is_tested() -> None:
    """Promtool tests cover each alert, firing and not firing, and the value of each recording rule."""
    covered = shown()
    assert ALERTS.keys() - covered.firing == set()
    assert ALERTS.keys() - covered.silent == set()
    assert RECORDED - covered.recorded == set()


@ALERT
def test_only_lost_answers_and_records_page(name: str) -> None:
    """Objectives and lost records page; all other alerts are tickets."""
    pages = name in OBJECTIVE_ALERTS | LOST_RECORDS
    assert ALERTS[name]["labels"]["severity"] == ("page" if pages else "ticket")


@ALERT
def test_an_alert_has_its_annotations(name: str) -> None:
    """Each alert has a summary, a description, a dashboard, and a page in the runbook."""
    annotations = ALERTS[name]["annotations"]
    assert set(annotations) == {"summary", "description", "dashboard", "runbook_url"}
    assert len(annotations["description"]) > len(annotations["summary"]) > 0
    assert annotations["dashboard"] in DASHBOARDS
    assert annotations["runbook_url"] == f"{DASHBOARD_URL.rpartition('/')[0]}/runbook-{name}"


@pytest.mark.parametrize("rule", [rule for path in RULES for rule in rules_of(path) if "alert" in rule], ids=str)
def test_annotations_use_existing_labels(rule: dict[str, dict[str, str]]) -> None:
    """Each label in an alert's annotations is a label of the alert."""
    labels = Query(str(rule["expr"]), known_series()).labels | set(rule["labels"])
    used = {label for text in rule["annotations"].values() for label in re.findall(r"\$labels\.(\w+)", text)}
    assert used <= labels


def test_the_objectives_are_up_to_date() -> None:
    """`objectives.yaml` is what `make rules` writes for its window."""
    text = FILE.read_text(encoding="utf-8")
    stated = re.search(r"make rules WINDOW=(\w+)", text)
    assert stated is not None
    assert text == render(stated[1])


def test_reasons_in_rules_exist() -> None:
    """Each reason for UNKNOWN in a rule is one that the worker reports."""
    queries = [Query(rule["expr"], known_series()) for path in RULES for rule in rules_of(path)]
    reasons = {
        reason
        for query in queries
        for selector in query.selectors
        if selector.name == names.DRIFT_RUNS.prometheus_name
        for reason in label_values(selector, names.prometheus_label(names.ERROR_TYPE))
    } - {""}
    assert reasons
    assert reasons <= set(UNKNOWN_KINDS)


def test_prediction_drift_uses_the_buckets() -> None:
    """The bounds in the rules of prediction drift are those of the score histogram."""
    (rule,) = (
        rule
        for rule in rules_of(FOLDER / "rules" / "prediction_drift.yaml")
        if rule["record"] == "leeway:score:bucket_bound"
    )
    found = re.findall(r'label_replace\(vector\(([\d.]+)\), "le", "([\d.]+)", "", ""\)', rule["expr"])
    assert [(float(value), text) for value, text in found] == [(bound, str(bound)) for bound in names.SCORE_BUCKETS]


def test_foreign_series_are_not_ours() -> None:
    """The list of other programs' series contains none of ours."""
    assert not set(OTHERS) & set(our_series())


def test_groups_have_unique_names() -> None:
    """Rule groups have unique names, by which promtool orders them and alerts name them."""
    groups = [group["name"] for path in RULES for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]
    assert len(set(groups)) == len(groups)


GROUPS = ("traffic", "drift-ages", "objective-ratios", "objective-budget", "objective-alerts")
EVERY_MINUTE = 100_000
BUDGET = pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
_REQUESTS = names.HTTP_REQUEST_DURATION.prometheus_name


def series(part: str, route: str, status: str, **more: str) -> str:
    """A series of the request histogram."""
    labels = {"job": "s", "instance": "a", "http_route": route, "http_response_status_code": status} | more
    matchers = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return f"{_REQUESTS}_{part}{{{matchers}}}"


def traffic(objective: Objective, bad: str, good: str) -> dict[str, str]:
    """Requests of which some are bad for `objective`; `bad` and `good` are in promtool's notation."""
    if objective is AVAILABILITY:
        return {series("count", "/predict", "500"): bad, series("count", "/predict", "200"): good}
    route, bound = {LATENCY.name: ("/predict", "0.05"), BATCH_LATENCY.name: ("/predict/batch", "1.0")}[objective.name]
    total = f"0+{EVERY_MINUTE}x60"
    return {series("count", route, "200"): total, series("bucket", route, "200", le=bound): good}


def burning(objective: Objective, rate: float, fires: set[str], name: str, stops_at: int = 60) -> Case:
    """An hour in which the budget burns at `rate` until minute `stops_at`, and the alerts that fire in minute 59."""
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
    """Each alert of each objective slightly over and slightly under its burn rate."""
    fast, slow = (budget.burn_rate(alarm) for alarm in budget.alarms)
    return [
        case
        for objective in REQUEST_OBJECTIVES
        for case in (
            burning(objective, 1.05 * fast, {"fast", "slow"}, "slightly over the fast alert's rate"),
            burning(objective, 0.95 * fast, {"slow"}, "slightly under it"),
            burning(objective, 1.05 * slow, {"slow"}, "slightly over the slow alert's rate"),
            burning(objective, 0.95 * slow, set(), "slightly under both"),
            burning(objective, 3 * fast, {"slow"}, "three times over, but ended ten minutes ago", stops_at=49),
        )
    ]


@pytest.mark.long
@BUDGET
def test_alerts_fire_at_their_burn_rate(budget: Budget, tmp_path: Path) -> None:
    """For each budget window, an alert fires over its burn rate, not under it, and not after the burn has ended."""
    rules = {"recording.yaml": rule_text("recording.yaml"), "objectives.yaml": render(budget.window)}
    result = run_cases(tmp_path, cases(budget), rules, GROUPS)
    assert result.returncode == 0, result.stdout + result.stderr


def test_burn_rates_are_the_workbooks() -> None:
    """For 30 days, 2 % in an hour is a burn rate of 14.4, and 5 % in six hours one of 6."""
    budget = BUDGETS["30d"]
    assert [budget.burn_rate(alarm) for alarm in budget.alarms] == pytest.approx([14.4, 6.0])


@BUDGET
def test_a_sustainable_rate_does_not_alert(budget: Budget) -> None:
    """No alert fires at a rate that the budget sustains."""
    assert all(budget.burn_rate(alarm) > 1 for alarm in budget.alarms)


@BUDGET
def test_windows_of_alerts_are_recorded(budget: Budget) -> None:
    """Both windows of an alert are recorded, and the short one is a twelfth of the long one, as in the workbook."""
    for alarm in budget.alarms:
        assert WINDOWS_S[alarm.short] * 12 == WINDOWS_S[alarm.long]


def test_a_latency_without_a_bucket_is_rejected() -> None:
    """A latency objective must be a bucket bound."""
    with pytest.raises(ValueError, match="60 s is not a bucket bound"):
        latency_objective("latency", 0.99, "/predict", 60, "leeway:predictions", "X", "x")


def test_the_window_is_an_option(tmp_path: Path) -> None:
    """`--window 30d` writes the rules for 30 days."""
    output = tmp_path / "objectives.yaml"
    assert main(["--window", "30d", "--output", str(output)]) == 0
    assert "[30d]" in output.read_text(encoding="utf-8")
    assert "[1d]" not in output.read_text(encoding="utf-8")
