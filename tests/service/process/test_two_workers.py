from __future__ import annotations

import os
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest

from leeway.model.bundle import Bundle
from leeway.telemetry import names
from tests.service.process.told import QUICK, SHUTDOWN_S, pid_of, rows_by_id, starts
from tests.service.processes import TWO_WORKERS, Sink, environment, eventually, otlp_sink, running


@dataclass
class Story:
    """What came of two workers that were asked, and of which one was killed and started again."""

    sink: Sink
    answers: list[dict[str, Any]]
    exit_code: int = -1
    took_s: float = 0.0
    log: list[dict[str, Any]] = field(default_factory=list)
    stderr: str = ""
    stored: Counter[str] = field(default_factory=Counter)


def counted(sink: Sink) -> int:
    """The predictions that the metrics of all workers count, by what each of them exported last."""
    latest: dict[int, int] = {}
    for metric in sink.metrics(names.HTTP_REQUEST_DURATION.name):
        for point in metric.histogram.data_points:
            if "/predict" in {attribute.value.string_value for attribute in point.attributes}:
                latest[point.start_time_unix_nano] = max(latest.get(point.start_time_unix_nano, 0), point.count)
    return sum(latest.values())


@pytest.fixture(scope="module")
def story(bundle: Bundle, example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Two workers with a Collector: asked 40 times, one killed, asked until another answers, stopped by SIGTERM."""
    folder = tmp_path_factory.mktemp("two-workers")
    with otlp_sink() as (sink, url):
        env = environment(bundle, folder, OTEL_EXPORTER_OTLP_ENDPOINT=url, **QUICK)
        with running(folder, env, TWO_WORKERS) as server:
            told = Story(sink, server.ask(example, 20))
            assert eventually(lambda: len(starts(server)) == 2)
            told.answers += server.ask(example, 20)
            assert eventually(lambda: counted(sink) == len(told.answers))  # what a killed worker counts last is lost
            os.kill(pid_of(min(starts(server))), signal.SIGKILL)
            assert eventually(lambda: len(starts(server)) == 3)
            told.answers += server.ask(example, 20)
            assert eventually(lambda: sink.metrics(names.UNUSUAL_FEATURES.name) != [])
            told.exit_code, told.took_s = server.stop()
            told.log, told.stderr = server.log(), server.err.read_text()
    told.stored = rows_by_id(folder / "leeway.db")
    return told


def test_workers_end_well(story: Story) -> None:
    """SIGTERM to the parent ends all workers, and the whole with 0, in time."""
    assert (story.exit_code, story.stderr) == (0, "")
    assert story.took_s < SHUTDOWN_S


def test_a_killed_worker_is_replaced(story: Story) -> None:
    """The log tells which worker died, and that another was started; nothing else is complained of."""
    complaints = [line["message"] for line in story.log if line["level"] != "INFO"]
    assert len(complaints) == 1
    assert complaints[0].endswith("exited with -9; restarting it")


def test_each_worker_has_an_instance_id(story: Story) -> None:
    """Metrics tell their processes apart: two workers, and the one that took a dead one's place."""
    assert len(story.sink.instances()) == 3


def test_one_worker_reports_on_the_spool_they_share(story: Story) -> None:
    """Added up over workers, the backlog would be told twice: the first one alone tells it, and who takes its place."""
    tell = {instance.rpartition("-")[2] for instance in story.sink.instances(names.LOG_BACKLOG.name)}
    assert {instance.rpartition("-")[2] for instance in story.sink.instances()} == {"0", "1"}
    assert tell == {"0"}


def test_each_answer_names_a_trace_that_arrives(story: Story) -> None:
    """The `trace_id` of every answer since the kill is that of a span which the Collector has."""
    arrived = {span.trace_id.hex() for span in story.sink.spans()}
    assert {answer["trace_id"] for answer in story.answers[-20:]} <= arrived


def test_the_spans_that_arrive_are_whole_requests(story: Story) -> None:
    """One SERVER span an answer, and below it its score."""
    by_trace: dict[bytes, list[str]] = {}
    for span in story.sink.spans():
        by_trace.setdefault(span.trace_id, []).append(span.name)
    last = bytes.fromhex(story.answers[-1]["trace_id"])
    assert sorted(by_trace[last]) == ["POST /predict", "score"]


def test_metrics_arrive_with_exemplars(story: Story) -> None:
    """The histogram that a click starts from carries the ids of traces that were answered."""
    exemplars = {
        exemplar.trace_id.hex()
        for metric in story.sink.metrics(names.UNUSUAL_FEATURES.name)
        for point in metric.histogram.data_points
        for exemplar in point.exemplars
    }
    assert exemplars
    assert exemplars <= {answer["trace_id"] for answer in story.answers}


def test_the_last_measurements_arrive(story: Story) -> None:
    """What was counted shortly before the end is flushed: every answer is in the counts."""
    assert counted(story.sink) == len(story.answers)


def test_no_recorded_answer_is_lost_with_a_worker(story: Story) -> None:
    """Each answer stands in the database once, those of the killed worker too."""
    assert story.stored == Counter(answer["prediction_id"] for answer in story.answers)
