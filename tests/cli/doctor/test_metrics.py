from __future__ import annotations

from itertools import count
from typing import Any
from urllib.parse import parse_qs

import pytest

from cli.doctor import metrics
from cli.doctor.asking import Deadline, EndpointError
from cli.doctor.finding import Finding
from cli.doctor.metrics import Counts, NoMetrics, predictions_counted, risen, targets, versions
from cli.doctor.traces import Origin
from leeway.settings import DoctorSettings
from leeway.telemetry import names
from tests.cli.doctor.backends import Reply, backend, vector
from tests.service.processes import closed_port

QUERY = "/api/v1/query"
ORIGIN = Origin("leeway/leeway-service", "i")
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


def rising(path: str, numbers: count[int] = count(7)) -> tuple[int, object]:  # noqa: B008 (one count for the whole test is meant)
    """One more at every question, and only for the right one."""
    (expression,) = parse_qs(path.partition("?")[2])["query"]
    assert expression == f'{names.HTTP_REQUEST_DURATION.prometheus_name}_count{{http_route="/predict"}}'
    return 200, vector(({}, next(numbers)))


def test_a_count_that_rises_in_prometheus_is_well() -> None:
    """The question is for single predictions; by how much it rose is told, and whose requests that may be."""
    with backend({QUERY: rising}) as there:
        settings = prometheus(there.url)
        finding = risen(settings, predictions_counted(settings, 5), None, 5, Deadline(5))
    assert (finding.state, "rose by 1 in" in finding.found) == ("ok", True)
    assert "others' requests count there too" in finding.found


def test_a_first_prediction_is_a_rise() -> None:
    """Before it there is no series at all."""
    with backend({QUERY: (200, vector())}) as there:
        before = predictions_counted(prometheus(there.url), 5)
        there.replies = {QUERY: (200, vector(ours(1)))}
        finding = risen(prometheus(there.url), before, ORIGIN, 5, Deadline(5))
    assert (before, finding.state) == ({}, "ok")


def found_after(before: list[Any], after: list[Any], origin: Origin | None = ORIGIN) -> Finding:
    """What is found where Prometheus has these series before and after."""
    with backend({QUERY: (200, vector(*before))}) as there:
        counted = predictions_counted(prometheus(there.url), 5)
        there.replies = {QUERY: (200, vector(*after))}
        return risen(prometheus(there.url), counted, origin, 5, Deadline(0.1))


def test_another_process_that_counts_is_not_ours() -> None:
    """With traffic elsewhere, a service whose metrics do not arrive is found out, and named."""
    finding = found_after([ours(7), another(100)], [ours(7), another(200)])
    assert (finding.state, "leeway/leeway-service, instance i" in finding.found) == ("failed", True)


def test_a_process_that_was_never_counted_is_not_made_up_for() -> None:
    """Nothing of ours is there at all, and others' counts rise."""
    assert found_after([another(100)], [another(200)]).state == "failed"


def test_our_count_is_told_to_be_ours() -> None:
    """Where its process is known, nothing need be said of others."""
    finding = found_after([ours(7), another(100)], [ours(8), another(200)])
    assert (finding.state, "instance i, in Prometheus rose by 1 in" in finding.found) == ("ok", True)
    assert "others" not in finding.found


def test_series_that_end_hide_no_rise() -> None:
    """A stopped process's count goes, and the sum falls: ours rose all the same."""
    assert found_after([ours(7), another(1_000)], [ours(8)], None).state == "ok"


def test_a_count_that_began_anew_rose() -> None:
    """A service that was just started again counts from nothing, as `increase()` has it."""
    assert found_after([ours(1_000)], [ours(1)]).state == "ok"


def test_where_services_are_scraped_directly_any_rise_counts() -> None:
    """Prometheus then calls them by their address, which no trace names."""
    direct = {"job": "mine", "instance": "10.0.0.1:8000"}
    assert found_after([(direct, 7)], [(direct, 8)]).state == "ok"


def test_a_count_that_stands_still_is_a_failure() -> None:
    """The signal is lost on its way to Prometheus, or late: the next step follows its way, and says how to wait."""
    finding = found_after([ours(7)], [ours(7)])
    assert (finding.state, "has not risen" in finding.found) == ("failed", True)
    for named in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_METRIC_EXPORT_INTERVAL", "--timeout"):
        assert named in str(finding.next_step)


@pytest.mark.parametrize(
    ("interval_ms", "wait_s"), [("", 75), ("5000", 30), ("120000", 135), ("often", 75), ("inf", 600)]
)
def test_metrics_are_waited_for_as_long_as_their_export_takes(
    interval_ms: str, wait_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK exports every minute unless told otherwise; where it is told to hurry, as in compose, nobody waits on."""
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", interval_ms)
    assert metrics.wait_s(prometheus("http://p"), 30) == wait_s
    assert metrics.wait_s(DoctorSettings.read(), 30) == 30


def test_a_prometheus_that_is_away_is_the_first_to_see_to() -> None:
    """Whether it was away before ours, or went away after."""
    settings = prometheus(f"http://127.0.0.1:{closed_port()}")
    with pytest.raises(EndpointError) as caught:
        predictions_counted(settings, 5)
    for before in (caught.value, one(7.0)):
        finding = risen(settings, before, None, 5, Deadline(0.1))
        assert (finding.state, finding.next_step) == ("failed", "see to prometheus first")


@pytest.mark.parametrize("reply", [(400, {"status": "error", "error": "parse error"}), (200, {"data": []}), (200, "x")])
def test_a_prometheus_that_refuses_is_said(reply: Reply) -> None:
    """An answer of another shape is no number."""
    with backend({QUERY: reply}) as there, pytest.raises(EndpointError):
        predictions_counted(prometheus(there.url), 5)


def test_without_prometheus_the_services_own_metrics_are_read() -> None:
    """Every status of single predictions counts, and no batch."""
    with backend({"/metrics": (200, OWN)}) as there:
        counts = predictions_counted(DoctorSettings.read(url=there.url), 5)
    assert sorted(counts.values()) == [2, 5]


def test_own_metrics_that_stand_still_are_another_services() -> None:
    """That is what several services behind one address look like."""
    with backend({"/metrics": (200, OWN)}) as there:
        settings = DoctorSettings.read(url=there.url)
        finding = risen(settings, predictions_counted(settings, 5), None, 5, Deadline(0.1))
    assert (finding.state, "LEEWAY_URL" in str(finding.next_step)) == ("failed", True)


def test_where_no_metrics_are_nothing_is_looked_for() -> None:
    """It is said what to set."""
    with backend({}) as there, pytest.raises(NoMetrics) as caught:
        predictions_counted(DoctorSettings.read(url=there.url), 5)
    finding = risen(DoctorSettings.read(), caught.value, None, 5, Deadline(0.1))
    assert (finding.state, "LEEWAY_PROMETHEUS_URL" in finding.found) == ("skipped", True)


def test_own_metrics_that_fail_are_said() -> None:
    """An error there is no absence."""
    with backend({"/metrics": (500, "")}) as there, pytest.raises(EndpointError, match="status 500"):
        predictions_counted(DoctorSettings.read(url=there.url), 5)


def test_versions_come_from_what_processes_say_of_themselves() -> None:
    """Ours with an underscore, the Collector's with a dot; others are not ours to tell."""
    told = vector(
        ({"job": "leeway/leeway-service", "service_version": "0.1.0"}, 1),
        ({"job": "leeway/leeway-drift", "service_version": "0.2.0"}, 1),
        ({"job": "otel-collector", "service.version": "0.161.0"}, 1),
        ({"job": "jaeger"}, 1),
    )
    with backend({QUERY: (200, told)}) as there:
        found = versions(prometheus(there.url), 5)
    assert found == {"service": "0.1.0", "drift worker": "0.2.0", "collector": "0.161.0"}


def test_the_services_version_comes_from_its_own_metrics_too() -> None:
    """Where there is no Prometheus."""
    with backend({"/metrics": (200, OWN)}) as there:
        assert versions(DoctorSettings.read(url=there.url), 5) == {"service": "0.1.0"}


def test_versions_that_nobody_tells_are_no_failure() -> None:
    """Whoever is away is told of by another check."""
    assert versions(prometheus(f"http://127.0.0.1:{closed_port()}"), 5) == {}


def test_all_that_is_scraped_is_counted() -> None:
    """Where every target is up."""
    with backend({QUERY: (200, vector(({"job": "a"}, 1), ({"job": "b"}, 1)))}) as there:
        assert targets(prometheus(there.url), 5).found == "Prometheus reaches all 2 that it scrapes"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (vector(({"job": "jaeger", "instance": "jaeger:8888"}, 0), ({"job": "b"}, 1)), "jaeger at jaeger:8888"),
        (vector(), "scrapes nothing"),
    ],
)
def test_what_is_not_reached_is_named(answer: object, found: str) -> None:
    """With where Prometheus says why."""
    with backend({QUERY: (200, answer)}) as there:
        finding = targets(prometheus(there.url), 5)
    assert (finding.state, found in finding.found) == ("failed", True)
    assert f"{there.url}/targets" in str(finding.next_step)


def test_scrapes_need_a_prometheus() -> None:
    """One that is not named, and one that is away, are told apart."""
    assert targets(DoctorSettings.read(), 5).state == "skipped"
    assert targets(prometheus(f"http://127.0.0.1:{closed_port()}"), 5).state == "failed"


def test_the_question_is_the_one_that_dashboards_ask() -> None:
    """The metric's and the label's names are those of `names.py`."""
    assert metrics.COUNT == 'http_server_request_duration_seconds_count{http_route="/predict"}'
