from __future__ import annotations

import pytest

from cli.doctor.check import CheckResult
from cli.doctor.endpoints import answers, endpoints
from leeway.settings import DoctorSettings
from tests.cli.stub_server import JsonReply, json_server
from tests.service.processes import closed_port

ALL = ["drift worker", "collector", "prometheus", "jaeger", "grafana"]
SETTING = dict(zip(ALL, ["reports_url", "collector_url", "prometheus_url", "jaeger_url", "grafana_url"], strict=True))


def checked(check: str, **settings: str) -> CheckResult:
    """The result of one check."""
    (endpoint,) = [each for each in endpoints(DoctorSettings.read(**settings)) if each.check == check]
    return answers(endpoint, 5)


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
def test_an_endpoint_that_answers_is_ok(check: str, path: str, body: object, version: str | None) -> None:
    """The result has its version, if it gives one, and its clock."""
    with json_server({path: (200, body)}) as server:
        result = checked(check, **{SETTING[check]: server.url})
    assert (result.state, result.found, result.version) == ("ok", f"answers at {server.url}", version)
    assert result.clock_ahead_s == pytest.approx(0, abs=1.5)


@pytest.mark.parametrize("check", ALL)
def test_an_unreachable_endpoint_fails(check: str) -> None:
    """The next step says how to start it, and which variable holds its address."""
    result = checked(check, **{SETTING[check]: f"http://127.0.0.1:{closed_port()}"})
    assert (result.state, "nothing listens" in result.found) == ("failed", True)
    assert "docker compose up --detach" in str(result.next_step)
    assert f"LEEWAY_{SETTING[check].upper()}" in str(result.next_step)


@pytest.mark.parametrize("check", ["collector", "prometheus", "jaeger", "grafana"])
def test_an_endpoint_without_an_address_is_skipped(check: str) -> None:
    """The result says which variable to set."""
    result = checked(check)
    assert result == CheckResult(check, "skipped", f"not checked: LEEWAY_{SETTING[check].upper()} is not set")


def test_the_worker_is_optional_by_default() -> None:
    """Without LEEWAY_REPORTS_URL the default address is tried, and nothing there is not a failure."""
    result = checked("drift worker")
    assert result.state in {"ok", "skipped"}
    assert DoctorSettings.read().reports_url in result.found


@pytest.mark.parametrize("reply", [(500, {}), (200, {"status": "error"}), (200, {"data": None}), (200, "<html>")])
def test_unexpected_answers_fail(reply: JsonReply) -> None:
    """An error and an answer of another program are failures."""
    with json_server({"/api/v1/status/buildinfo": reply}) as server:
        result = checked("prometheus", prometheus_url=server.url)
    assert result.state == "failed"
    assert result.next_step


def test_another_page_is_not_the_drift_worker() -> None:
    """Another program on its port is recognized."""
    with json_server({"/": (200, "<html>")}, server_name="nginx") as server:
        result = checked("drift worker", reports_url=server.url)
    assert (result.state, "is something else" in result.found) == ("failed", True)
