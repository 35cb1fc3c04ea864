from __future__ import annotations

import pytest

from cli.doctor.finding import Finding
from cli.doctor.places import answers, places
from leeway.settings import DoctorSettings
from tests.cli.doctor.backends import Reply, backend
from tests.service.processes import closed_port

ALL = ["drift worker", "collector", "prometheus", "jaeger", "grafana"]
SETTING = dict(zip(ALL, ["reports_url", "collector_url", "prometheus_url", "jaeger_url", "grafana_url"], strict=True))


def looked_at(check: str, **settings: str) -> Finding:
    """What is found of one of them."""
    (place,) = [each for each in places(DoctorSettings.read(**settings)) if each.check == check]
    return answers(place, 5)


@pytest.mark.parametrize(
    ("check", "path", "body", "version"),
    [
        ("prometheus", "/api/v1/status/buildinfo", {"data": {"version": "3.16.0"}}, "3.16.0"),
        ("jaeger", "/", '<script>const JAEGER_VERSION = {"gitCommit":"x","gitVersion":"v2.13.0"};', "2.13.0"),
        ("jaeger", "/", "<html>another page", None),
        ("collector", "/", {"status": "Server available"}, None),
        ("grafana", "/api/health", {"database": "ok", "version": "13.1.0"}, "13.1.0"),
        ("drift worker", "/", "<html>", None),
    ],
)
def test_who_answers_is_ok(check: str, path: str, body: object, version: str | None) -> None:
    """With its version, where it tells one, and its clock."""
    with backend({path: (200, body)}) as there:
        finding = looked_at(check, **{SETTING[check]: there.url})
    assert (finding.state, finding.found, finding.version) == ("ok", f"answers at {there.url}", version)
    assert finding.clock_ahead_s == pytest.approx(0, abs=1.5)


@pytest.mark.parametrize("check", ALL)
def test_who_is_not_there_is_a_failure(check: str) -> None:
    """The next step says how to start it, and which variable names another address."""
    finding = looked_at(check, **{SETTING[check]: f"http://127.0.0.1:{closed_port()}"})
    assert (finding.state, "nobody listens" in finding.found) == ("failed", True)
    assert "docker compose up --detach" in str(finding.next_step)
    assert f"LEEWAY_{SETTING[check].upper()}" in str(finding.next_step)


@pytest.mark.parametrize("check", ["collector", "prometheus", "jaeger", "grafana"])
def test_who_is_not_named_is_left_out(check: str) -> None:
    """It says which variable would name it."""
    finding = looked_at(check)
    assert finding == Finding(check, "skipped", f"not looked for: LEEWAY_{SETTING[check].upper()} is not set")


def test_a_worker_that_nobody_named_may_be_away() -> None:
    """The service works alone; where the page would be by default, it is looked for all the same."""
    finding = looked_at("drift worker")
    assert finding.state in {"ok", "skipped"}
    assert DoctorSettings.read().reports_url in finding.found


@pytest.mark.parametrize("reply", [(500, {}), (200, {"status": "error"}), (200, {"data": None}), (200, "<html>")])
def test_who_answers_otherwise_is_somebody_else(reply: Reply) -> None:
    """An error, and an answer that is not theirs, are failures."""
    with backend({"/api/v1/status/buildinfo": reply}) as there:
        finding = looked_at("prometheus", prometheus_url=there.url)
    assert finding.state == "failed"
    assert finding.next_step


def test_another_page_is_no_drift_worker() -> None:
    """Something else has its port."""
    with backend({"/": (200, "<html>")}, server_name="nginx") as there:
        finding = looked_at("drift worker", reports_url=there.url)
    assert (finding.state, "is something else" in finding.found) == ("failed", True)
