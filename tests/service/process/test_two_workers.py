from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from leeway.model.bundle import Bundle
from leeway.telemetry import names
from tests.service.processes import (
    QUICK_EXPORT,
    SHUTDOWN_S,
    TWO_WORKERS,
    Sink,
    environment,
    eventually,
    otlp_sink,
    pid_of,
    rows_by_id,
    running,
    starts,
)

pytestmark = pytest.mark.long


@dataclass
class Story:
    """What two workers answered and exported, one of which was killed and restarted."""

    sink: Sink
    answers: list[dict[str, Any]]
    exit_code: int = -1
    took_s: float = 0.0
    log: list[dict[str, Any]] = field(default_factory=list)
    stderr: str = ""
    stored: Counter[str] = field(default_factory=Counter)


def counted(sink: Sink) -> int:
    """The predictions in the metrics of all workers, from the last export of each."""
    latest: dict[int, int] = {}
    for metric in sink.metrics(names.HTTP_REQUEST_DURATION.name):
        for point in metric.histogram.data_points:
            if "/predict" in {attribute.value.string_value for attribute in point.attributes}:
                latest[point.start_time_unix_nano] = max(latest.get(point.start_time_unix_nano, 0), point.count)
    return sum(latest.values())


@pytest.fixture(scope="module")
def story(bundle: Bundle, example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Two workers with a Collector: 40 requests, one worker killed, 20 more requests, then SIGTERM."""
    folder = tmp_path_factory.mktemp("two-workers")
    with otlp_sink() as (sink, url):
        env = environment(bundle, folder, OTEL_EXPORTER_OTLP_ENDPOINT=url, **QUICK_EXPORT)
        with running(folder, env, TWO_WORKERS) as server:
            found = Story(sink, server.ask(example, 20))
            assert eventually(lambda: len(starts(server)) == 2)
            found.answers += server.ask(example, 20)
            assert eventually(lambda: counted(sink) == len(found.answers))  # a killed worker loses its last counts
            os.kill(pid_of(min(starts(server))), signal.SIGKILL)
            assert eventually(lambda: len(starts(server)) == 3)
            found.answers += server.ask(example, 20)
            assert eventually(lambda: sink.metrics(names.UNUSUAL_FEATURES.name) != [])
            found.exit_code, found.took_s = server.stop()
            found.log, found.stderr = server.log(), server.err.read_text()
    found.stored = rows_by_id(folder / "leeway.db")
    return found


def test_sigterm_ends_all_workers(story: Story) -> None:
    """SIGTERM to the supervisor ends them in time; the exit code is 0."""
    assert (story.exit_code, story.stderr) == (0, "")
    assert story.took_s < SHUTDOWN_S


def test_a_killed_worker_is_restarted(story: Story) -> None:
    """The log names the worker that died, and holds no other warning."""
    warnings = [line["message"] for line in story.log if line["level"] != "INFO"]
    assert len(warnings) == 1
    assert warnings[0].endswith("exited with -9; restarting it")


def test_each_worker_has_an_instance_id(story: Story) -> None:
    """Metrics distinguish their processes: two workers, and the replacement of the killed one."""
    assert len(story.sink.instances()) == 3


def test_one_worker_reports_on_the_shared_spool(story: Story) -> None:
    """Only the first worker and its replacement report the backlog: a sum over workers would count it twice."""
    reporting = {instance.rpartition("-")[2] for instance in story.sink.instances(names.LOG_BACKLOG.name)}
    assert {instance.rpartition("-")[2] for instance in story.sink.instances()} == {"0", "1"}
    assert reporting == {"0"}


def test_each_answer_names_a_trace_that_arrives(story: Story) -> None:
    """The Collector has a span with the `trace_id` of every answer since the kill."""
    arrived = {span.trace_id.hex() for span in story.sink.spans()}
    assert {answer["trace_id"] for answer in story.answers[-20:]} <= arrived


def test_the_spans_of_a_request_arrive_completely(story: Story) -> None:
    """One SERVER span per answer, with its `score` span below it."""
    by_trace: dict[bytes, list[str]] = {}
    for span in story.sink.spans():
        by_trace.setdefault(span.trace_id, []).append(span.name)
    last = bytes.fromhex(story.answers[-1]["trace_id"])
    assert sorted(by_trace[last]) == ["POST /predict", "score"]


def test_metrics_arrive_with_exemplars(story: Story) -> None:
    """The histogram of unusual features links to traces of answered requests."""
    exemplars = {
        exemplar.trace_id.hex()
        for metric in story.sink.metrics(names.UNUSUAL_FEATURES.name)
        for point in metric.histogram.data_points
        for exemplar in point.exemplars
    }
    assert exemplars
    assert exemplars <= {answer["trace_id"] for answer in story.answers}


def test_the_last_measurements_arrive(story: Story) -> None:
    """The last counts are flushed: every answer is in them."""
    assert counted(story.sink) == len(story.answers)


def test_no_recorded_answer_is_lost_with_a_worker(story: Story) -> None:
    """The database has each answer once, including those of the killed worker."""
    assert story.stored == Counter(answer["prediction_id"] for answer in story.answers)
