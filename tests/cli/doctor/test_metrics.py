from __future__ import annotations

from itertools import count
from typing import Any
from urllib.parse import parse_qs

import pytest

from cli.doctor import metrics
from cli.doctor.check import CheckResult, Deadline
from cli.doctor.metrics import Counts, NoMetrics, prediction_counts, risen, targets, versions
from cli.doctor.traces import TraceOrigin
from cli.http import EndpointError
from leeway.settings import DoctorSettings
from leeway.telemetry import names
from tests.cli.doctor.replies import vector
from tests.cli.stub_server import JsonReply, json_server
from tests.service.processes import closed_port

QUERY = "/api/v1/query"
ORIGIN = TraceOrigin("leeway/leeway-service", "i")
OWN = """# TYPE http_server_request_duration_seconds histogram
http_server_request_duration_seconds_count{http_route="/predict",http_response_status_code="200"} 5.0
http_server_request_duration_seconds_count{http_route="/predict",http_response_status_code="422"} 2.0
http_server_request_duration_seconds_count{http_route="/predict/batch"} 90.0
http_server_request_duration_seconds_sum{http_route="/predict"} 7000.0
target_info{service_name="leeway-service",service_version="0.1.0"} 1.0
"""


def prometheus(url: str) -> DoctorSettings:
    """Settings that name one."""
    return DoctorSettings.read(prometheus_url=url)


def one(count: float, **labels: str) -> Counts:
    """A series' count."""
    return {frozenset(labels.items()): count}


def ours(count: float) -> tuple[dict[str, str], float]:
    """The series of the process that answered, as Prometheus has it."""
    return {"job": ORIGIN.job, "instance": ORIGIN.instance}, count


def another(count: float) -> tuple[dict[str, str], float]:
    """The series of one that did not."""
    return {"job": ORIGIN.job, "instance": "another"}, count


def rising(path: str, numbers: count[int] = count(7)) -> tuple[int, object]:  # noqa: B008 (one count for the whole test is intended)
    """A count that rises with every query, for the right query only."""
    (expression,) = parse_qs(path.partition("?")[2])["query"]
    assert expression == f'{names.HTTP_REQUEST_DURATION.prometheus_name}_count{{http_route="/predict"}}'
    return 200, vector(({}, next(numbers)))


def test_a_rising_count_in_prometheus_is_ok() -> None:
    """The query is for single predictions; without an origin the count may include other clients."""
    with json_server({QUERY: rising}) as server:
        settings = prometheus(server.url)
        result = risen(settings, prediction_counts(settings, 5), None, 5, Deadline(5))
    assert (result.state, "rose by 1 within" in result.found) == ("ok", True)
    assert "requests of other clients" in result.found


def test_the_first_prediction_is_a_rise() -> None:
    """Before it there is no series."""
    with json_server({QUERY: (200, vector())}) as server:
        before = prediction_counts(prometheus(server.url), 5)
        server.replies = {QUERY: (200, vector(ours(1)))}
        result = risen(prometheus(server.url), before, ORIGIN, 5, Deadline(5))
    assert (before, result.state) == ({}, "ok")


def result_after(before: list[Any], after: list[Any], origin: TraceOrigin | None = ORIGIN) -> CheckResult:
    """The result if Prometheus has these series before and after."""
    with json_server({QUERY: (200, vector(*before))}) as server:
        counted = prediction_counts(prometheus(server.url), 5)
        server.replies = {QUERY: (200, vector(*after))}
        return risen(prometheus(server.url), counted, origin, 5, Deadline(0.1))


def test_other_processes_do_not_count() -> None:
    """If only other processes' counts rise, the check fails and names the process."""
    result = result_after([ours(7), another(100)], [ours(7), another(200)])
    assert (result.state, "leeway/leeway-service, instance i" in result.found) == ("failed", True)


def test_a_process_without_a_count_fails() -> None:
    """The process has no series, and the counts of others rise."""
    assert result_after([another(100)], [another(200)]).state == "failed"


def test_a_known_process_has_its_own_count() -> None:
    """If the process is known, the count includes no other clients."""
    result = result_after([ours(7), another(100)], [ours(8), another(200)])
    assert (result.state, "instance i, in Prometheus rose by 1 within" in result.found) == ("ok", True)
    assert "other clients" not in result.found


def test_ended_series_hide_no_rise() -> None:
    """A stopped process's series ends and the sum falls: our count still rose."""
    assert result_after([ours(7), another(1_000)], [ours(8)], None).state == "ok"


def test_a_reset_count_rose() -> None:
    """A restarted service counts from 0, as `increase()` assumes."""
    assert result_after([ours(1_000)], [ours(1)]).state == "ok"


def test_any_rise_counts_if_services_are_scraped_directly() -> None:
    """Prometheus then labels them by their address, which no trace has."""
    direct = {"job": "mine", "instance": "10.0.0.1:8000"}
    assert result_after([(direct, 7)], [(direct, 8)]).state == "ok"


def test_a_constant_count_fails() -> None:
    """The metric is lost or late: the next step names each station, and how to wait longer."""
    result = result_after([ours(7)], [ours(7)])
    assert (result.state, "has not risen" in result.found) == ("failed", True)
    for named in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_METRIC_EXPORT_INTERVAL", "--timeout"):
        assert named in str(result.next_step)


@pytest.mark.parametrize(
    ("interval_ms", "wait_s"), [("", 75), ("5000", 30), ("120000", 135), ("often", 75), ("inf", 600)]
)
def test_the_wait_for_metrics_includes_their_export(
    interval_ms: str, wait_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK exports every minute by default; a shorter interval, as in compose, shortens the wait."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", interval_ms)
    assert metrics.wait_s(prometheus("http://p"), 30) == wait_s
    assert metrics.wait_s(DoctorSettings.read(), 30) == 30


def test_an_unreachable_prometheus_fails() -> None:
    """It may have been unreachable before the prediction, or only after it."""
    settings = prometheus(f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(EndpointError) as caught:
        prediction_counts(settings, 5)
    for before in (caught.value, one(7.0)):
        result = risen(settings, before, None, 5, Deadline(0.1))
        assert (result.state, result.next_step) == ("failed", "fix prometheus first")


@pytest.mark.parametrize("reply", [(400, {"status": "error", "error": "parse error"}), (200, {"data": []}), (200, "x")])
def test_unexpected_answers_are_errors(reply: JsonReply) -> None:
    """An answer of another shape is an error."""
    with json_server({QUERY: reply}) as server, pytest.raises(EndpointError):
        prediction_counts(prometheus(server.url), 5)


def test_without_prometheus_the_services_own_metrics_are_read() -> None:
    """All statuses of single predictions count, and no batches."""
    with json_server({"/metrics": (200, OWN)}) as server:
        counts = prediction_counts(DoctorSettings.read(url=server.url), 5)
    assert sorted(counts.values()) == [2, 5]


def test_constant_own_metrics_fail() -> None:
    """Several services behind one address look like this."""
    with json_server({"/metrics": (200, OWN)}) as server:
        settings = DoctorSettings.read(url=server.url)
        result = risen(settings, prediction_counts(settings, 5), None, 5, Deadline(0.1))
    assert (result.state, "LEEWAY_URL" in str(result.next_step)) == ("failed", True)


def test_without_metrics_the_check_is_skipped() -> None:
    """The result says which variable to set."""
    with json_server({}) as server, pytest.raises(NoMetrics) as caught:
        prediction_counts(DoctorSettings.read(url=server.url), 5)
    result = risen(DoctorSettings.read(), caught.value, None, 5, Deadline(0.1))
    assert (result.state, "LEEWAY_PROMETHEUS_URL" in result.found) == ("skipped", True)


def test_failing_own_metrics_are_an_error() -> None:
    """An error of /metrics does not mean that there are none."""
    with json_server({"/metrics": (500, "")}) as server, pytest.raises(EndpointError, match="status 500"):
        prediction_counts(DoctorSettings.read(url=server.url), 5)


def test_versions_come_from_target_info() -> None:
    """Ours have an underscore, the Collector's a dot; other jobs are ignored."""
    told = vector(
        ({"job": "leeway/leeway-service", "service_version": "0.1.0"}, 1),
        ({"job": "leeway/leeway-drift", "service_version": "0.2.0"}, 1),
        ({"job": "otel-collector", "service.version": "0.161.0"}, 1),
        ({"job": "jaeger"}, 1),
    )
    with json_server({QUERY: (200, told)}) as server:
        found = versions(prometheus(server.url), 5)
    assert found == {"service": "0.1.0", "drift worker": "0.2.0", "collector": "0.161.0"}


def test_the_services_version_comes_from_its_own_metrics_too() -> None:
    """Without Prometheus, the service's version comes from its /metrics."""
    with json_server({"/metrics": (200, OWN)}) as server:
        assert versions(DoctorSettings.read(url=server.url), 5) == {"service": "0.1.0"}


def test_unknown_versions_are_not_a_failure() -> None:
    """Another check reports an unreachable Prometheus."""
    assert versions(prometheus(f"http://127.0.0.1:{closed_port()}"), 5) == {}


def test_targets_are_counted() -> None:
    """If every target is up, the result has their number."""
    with json_server({QUERY: (200, vector(({"job": "a"}, 1), ({"job": "b"}, 1)))}) as server:
        assert targets(prometheus(server.url), 5).found == "Prometheus reaches all its 2 targets"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (vector(({"job": "jaeger", "instance": "jaeger:8888"}, 0), ({"job": "b"}, 1)), "jaeger at jaeger:8888"),
        (vector(), "has no targets"),
    ],
)
def test_targets_that_are_down_are_named(answer: object, found: str) -> None:
    """The next step is the page where Prometheus shows the reason."""
    with json_server({QUERY: (200, answer)}) as server:
        result = targets(prometheus(server.url), 5)
    assert (result.state, found in result.found) == ("failed", True)
    assert f"{server.url}/targets" in str(result.next_step)


def test_scrapes_need_a_prometheus() -> None:
    """Without an address the check is skipped; if it is unreachable the check fails."""
    assert targets(DoctorSettings.read(), 5).state == "skipped"
    assert targets(prometheus(f"http://127.0.0.1:{closed_port()}"), 5).state == "failed"


def test_the_query_is_that_of_the_dashboards() -> None:
    """The metric's and the label's names are those of `names.py`."""
    assert metrics.COUNT == 'http_server_request_duration_seconds_count{http_route="/predict"}'
