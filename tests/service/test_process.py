from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest

from leeway.bundle import Bundle
from leeway.telemetry import names
from tests.service.processes import (
    ROOT,
    SUPERVISED,
    TWO_WORKERS,
    Server,
    Sink,
    closed_port,
    ended,
    environment,
    eventually,
    otlp_sink,
    running,
    silent_listener,
)

SHUTDOWN_S = 15.0
FLUSH_S = 10.0
QUICK = {"OTEL_METRIC_EXPORT_INTERVAL": "200", "OTEL_BSP_SCHEDULE_DELAY": "100"}
"""Export often, so that a test need not wait."""


@pytest.fixture(scope="module")
def example(bundle: Bundle) -> dict[str, Any]:
    """A body that is answered."""
    return {"features": dict(bundle.card["example"])}


def rows_by_id(database: Path) -> Counter[str]:
    """How often each prediction stands in the database."""
    if not database.is_file():
        return Counter()
    with closing(sqlite3.connect(database)) as connection:
        try:
            return Counter(row[0] for row in connection.execute("SELECT prediction_id FROM predictions"))
        except sqlite3.OperationalError:
            return Counter()  # no table yet


# --- stopping -------------------------------------------------------------------------------------------------------


def test_requests_in_flight_are_finished(bundle: Bundle, example: dict[str, Any], tmp_path: Path) -> None:
    """A batch that is still being sent when SIGTERM comes is answered whole; the exit code is 0."""
    body = json.dumps({"items": [example] * 1_000}).encode()
    head = (
        f"POST /predict/batch HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    )
    with running(tmp_path, environment(bundle, tmp_path)) as server:
        address = ("127.0.0.1", httpx2.URL(server.url).port or 0)
        with socket.create_connection(address, timeout=SHUTDOWN_S) as connection:
            connection.sendall(head.encode() + b"\r\n" + body[:1_000])
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(body[1_000:])
            answer = connection.makefile("rb").read()
        code = server.process.wait(SHUTDOWN_S)
    results = json.loads(answer.partition(b"\r\n\r\n")[2])["results"]
    assert (code, len(results), all(result["recorded"] for result in results)) == (0, 1_000, True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_service_well(bundle: Bundle, tmp_path: Path, number: signal.Signals) -> None:
    """SIGTERM and Ctrl-C end it with 0, soon, though a client keeps its connection open; nothing is complained of."""
    with running(tmp_path, environment(bundle, tmp_path)) as server, server.client() as client:
        client.get("/model").raise_for_status()
        code, took_s = server.stop(number)
        told = server.err.read_text(), [line for line in server.log() if line["level"] != "INFO"]
    assert (code, told) == (0, ("", []))
    assert took_s < 5


# --- a Collector that takes everything, and two workers -------------------------------------------------------------


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
            os.kill(pid_of(min(starts(server))), signal.SIGKILL)
            assert eventually(lambda: len(starts(server)) == 3)
            told.answers += server.ask(example, 20)
            assert eventually(lambda: sink.metrics(names.UNUSUAL_FEATURES.name) != [])
            told.exit_code, told.took_s = server.stop()
            told.log, told.stderr = server.log(), server.err.read_text()
    told.stored = rows_by_id(folder / "leeway.db")
    return told


def starts(server: Server) -> set[str]:
    """What the log says of processes that began to serve."""
    return {line["message"] for line in server.log() if line["message"].startswith("Started server process")}


def pid_of(message: str) -> int:
    """The process id in `Started server process [123]`."""
    return int(message.partition("[")[2].rstrip("]"))


def test_workers_end_well(story: Story) -> None:
    """SIGTERM to the parent ends all workers, and the whole with 0, in time."""
    assert (story.exit_code, story.stderr) == (0, "")
    assert story.took_s < SHUTDOWN_S


def test_a_killed_worker_is_replaced(story: Story) -> None:
    """The log tells which worker died, and that another was started; nothing else is complained of."""
    complaints = [line["message"] for line in story.log if line["level"] != "INFO"]
    assert len(complaints) == 1
    assert complaints[0].endswith("ended with -9 and is started again")


def test_each_worker_has_an_instance_id(story: Story) -> None:
    """Metrics tell their processes apart: two workers, and the one that took a dead one's place."""
    assert len(story.sink.instances()) == 3


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
    """What was counted shortly before the end is flushed: all of the last answers are in the counts."""
    latest: dict[int, int] = {}
    for metric in story.sink.metrics(names.HTTP_REQUEST_DURATION.name):
        for point in metric.histogram.data_points:
            latest[point.start_time_unix_nano] = max(latest.get(point.start_time_unix_nano, 0), point.count)
    assert sum(latest.values()) >= len(story.answers) - 20


def test_no_recorded_answer_is_lost_with_a_worker(story: Story) -> None:
    """Each answer stands in the database once, those of the killed worker too."""
    assert story.stored == Counter(answer["prediction_id"] for answer in story.answers)


# --- a Collector that is not there ----------------------------------------------------------------------------------


@dataclass
class Ending:
    """How a service fared whose Collector is not there."""

    median_s: float
    exit_code: int
    took_s: float
    complaints: list[dict[str, Any]]


COLLECTORS: dict[str, tuple[str, str]] = {
    "refuses, http": ("refuses", "http/protobuf"),
    "refuses, grpc": ("refuses", "grpc"),
    "is silent, http": ("is silent", "http/protobuf"),
    "is silent, grpc": ("is silent", "grpc"),
    "accepts only, http": ("accepts only", "http/protobuf"),
}
NONE = "none"


@pytest.fixture(scope="module")
def endings(bundle: Bundle, example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ending]:
    """All cases side by side, as they mostly wait: each asked 60 times in turn, then stopped at once."""
    with ExitStack() as stack:
        addresses = {
            "refuses": f"http://127.0.0.1:{closed_port()}",
            "is silent": stack.enter_context(silent_listener(accepts=False)),
            "accepts only": stack.enter_context(silent_listener(accepts=True)),
        }
        servers: dict[str, Server] = {}
        for case in (NONE, *COLLECTORS):
            folder = tmp_path_factory.mktemp("collector")
            env = environment(bundle, folder)
            if case != NONE:
                collector, protocol = COLLECTORS[case]
                told = {"OTEL_EXPORTER_OTLP_ENDPOINT": addresses[collector], "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
                env |= QUICK | told
            servers[case] = stack.enter_context(running(folder, env))
        times_s: dict[str, list[float]] = {case: [] for case in servers}
        clients = {case: stack.enter_context(server.client()) for case, server in servers.items()}
        for _ in range(60):
            for case, client in clients.items():
                started_s = time.perf_counter()
                client.post("/predict", json=example).raise_for_status()
                times_s[case].append(time.perf_counter() - started_s)
        stopped = stop_at_once(servers)
        return {
            case: Ending(statistics.median(times_s[case]), *stopped[case], complaints_of(servers[case]))
            for case in servers
        }


def stop_at_once(servers: dict[str, Server]) -> dict[str, tuple[int, float]]:
    """Stop them side by side; return how each ended."""
    stopped: dict[str, tuple[int, float]] = {}

    def stop(case: str) -> None:
        stopped[case] = servers[case].stop()

    threads = [threading.Thread(target=stop, args=(case,)) for case in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return stopped


def complaints_of(server: Server) -> list[dict[str, Any]]:
    """The lines of its log that are no mere information."""
    return [line for line in server.log() if line["level"] != "INFO"]


@pytest.mark.parametrize("case", COLLECTORS)
def test_without_a_collector_the_service_ends_well_and_soon(endings: dict[str, Ending], case: str) -> None:
    """A Collector that refuses or hangs keeps no process from ending with 0 within ten seconds."""
    assert endings[case].exit_code == 0
    assert endings[case].took_s < FLUSH_S


@pytest.mark.parametrize("case", COLLECTORS)
def test_without_a_collector_no_request_is_slower(endings: dict[str, Ending], case: str) -> None:
    """Exporting is nobody's business who waits for an answer. The bound is wide: it would catch a wait, not a cost."""
    assert endings[case].median_s < 3 * endings[NONE].median_s + 0.02


@pytest.mark.parametrize("case", COLLECTORS)
def test_without_a_collector_the_log_is_quiet(endings: dict[str, Ending], case: str) -> None:
    """Each exporter complains once a minute, not several times a second, and shows no traceback."""
    complaints = endings[case].complaints
    assert len(complaints) <= 4
    assert not [line for line in complaints if "exception" in line]


# --- what is recorded survives --------------------------------------------------------------------------------------


@dataclass
class Killed:
    """Answers that were given before a `kill -9`, and what the database holds after another start."""

    recorded: list[str]
    stored: Counter[str]


@pytest.fixture(scope="module")
def killed(bundle: Bundle, example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Four clients ask without a pause; after a second the service is killed, then started and stopped."""
    folder = tmp_path_factory.mktemp("killed")
    env = environment(bundle, folder)
    recorded: list[str] = []
    with running(folder, env) as server:
        assert server.url
        threads = [threading.Thread(target=ask_until_killed, args=(server, example, recorded)) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(1.0)
        server.process.kill()
        for thread in threads:
            thread.join()
    with running(folder, env) as server:
        eventually(lambda: rows_by_id(folder / "leeway.db").keys() >= set(recorded))
        server.stop()
    return Killed(recorded, rows_by_id(folder / "leeway.db"))


def ask_until_killed(server: Server, body: dict[str, Any], recorded: list[str]) -> None:
    """Note each answer that says it is recorded, until nobody answers."""
    with server.client() as client:
        while True:
            try:
                answer = client.post("/predict", json=body).json()
            except (httpx2.TransportError, ValueError):
                return
            if answer["recorded"]:
                recorded.append(answer["prediction_id"])


def test_after_kill_9_no_recorded_answer_is_missing(killed: Killed) -> None:
    """Every answer that said `"recorded": true` reaches the database after another start."""
    assert len(killed.recorded) > 100
    assert set(killed.recorded) - killed.stored.keys() == set()


def test_after_kill_9_no_answer_is_doubled(killed: Killed) -> None:
    """Each stands there exactly once."""
    assert set(killed.stored.values()) == {1}


def test_a_supervised_service_keeps_callers_waiting(bundle: Bundle, example: dict[str, Any], tmp_path: Path) -> None:
    """Who asks while a killed process is replaced is answered by the new one, not refused."""
    with running(tmp_path, environment(bundle, tmp_path), SUPERVISED) as server:
        server.ask(example)
        (first,) = starts(server)
        os.kill(pid_of(first), signal.SIGKILL)
        assert len(server.ask(example, 5)) == 5
        assert len(starts(server)) == 2
        assert server.stop()[0] == 0


def test_a_database_that_is_away_at_the_start_is_found_later(
    bundle: Bundle, example: dict[str, Any], tmp_path: Path
) -> None:
    """The service starts degraded, answers features, and delivers what it recorded once the database can be opened."""
    database = tmp_path / "leeway.db"
    database.mkdir()  # a folder cannot be opened as a database, not even by root
    with running(tmp_path, environment(bundle, tmp_path)) as server:
        health = httpx2.get(f"{server.url}/health/ready")
        (answer,) = server.ask(example)
        database.rmdir()
        delivered = eventually(lambda: rows_by_id(database) == Counter([answer["prediction_id"]]))
        code, _ = server.stop()
    assert (health.status_code, health.json()["status"], answer["recorded"]) == (200, "degraded", True)
    assert (delivered, code) == (True, 0)


def test_postgresql_that_is_away_at_the_start_leaves_features_answered(
    bundle: Bundle, example: dict[str, Any], tmp_path: Path
) -> None:
    """With nobody at PostgreSQL's port the service starts degraded and answers features; customers get a 503."""
    url = f"postgresql+psycopg://leeway@127.0.0.1:{closed_port()}/leeway"
    with running(tmp_path, environment(bundle, tmp_path, LEEWAY_DATABASE_URL=url)) as server:
        health = httpx2.get(f"{server.url}/health/ready").json()["status"]
        (answer,) = server.ask(example)
        customer = httpx2.post(f"{server.url}/predict", json={"user_id": "7590-VHVEG"}).status_code
        code, took_s = server.stop()
    assert (health, answer["recorded"], customer, code) == ("degraded", True, 503, 0)
    assert took_s < 5


# --- a start that cannot be -----------------------------------------------------------------------------------------

Spoil = Callable[[Path, dict[str, str]], None]


def no_bundle(folder: Path, env: dict[str, str]) -> None:
    """There is no bundle where one is looked for."""
    env["LEEWAY_BUNDLE"] = str(folder / "nowhere")


def changed_byte(folder: Path, env: dict[str, str]) -> None:
    """One byte of the model is another."""
    path = copied_bundle(folder, env) / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def unknown_format(folder: Path, env: dict[str, str]) -> None:
    """The bundle is of a later Leeway."""
    path = copied_bundle(folder, env) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))


def copied_bundle(folder: Path, env: dict[str, str]) -> Path:
    """A copy of the bundle, to be spoilt."""
    copy = folder / "bundle"
    shutil.copytree(env["LEEWAY_BUNDLE"], copy)
    env["LEEWAY_BUNDLE"] = str(copy)
    return copy


def setting(**changes: str) -> Spoil:
    """A setting that cannot be used."""
    return lambda _folder, env: env.update(changes)


def spool_is_a_folder(folder: Path, env: dict[str, str]) -> None:
    """The spool's path leads to a folder."""
    env["LEEWAY_SPOOL"] = str(folder)


def spans_file_is_a_folder(folder: Path, env: dict[str, str]) -> None:
    """The spans' path leads to a folder."""
    env["LEEWAY_SPANS_FILE"] = str(folder)


CANNOT_START: dict[str, tuple[Spoil, str]] = {
    "no bundle": (no_bundle, "leeway train"),
    "changed byte": (changed_byte, "model.onnx"),
    "unknown format": (unknown_format, "99"),
    "bad port": (setting(LEEWAY_PORT="eighty"), "LEEWAY_PORT='eighty'"),
    "bad recording": (setting(LEEWAY_RECORDING="perhaps"), "LEEWAY_RECORDING='perhaps'"),
    "bad database": (setting(LEEWAY_DATABASE_URL="nonsense"), "LEEWAY_DATABASE_URL"),
    "bad protocol": (
        setting(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", OTEL_EXPORTER_OTLP_PROTOCOL="http/json"),
        "OTEL_EXPORTER_OTLP_PROTOCOL='http/json'",
    ),
    "spool is a folder": (spool_is_a_folder, "LEEWAY_SPOOL"),
    "spans file is a folder": (spans_file_is_a_folder, "LEEWAY_SPANS_FILE"),
}


@pytest.fixture(scope="module")
def failed_starts(
    bundle: Bundle, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, subprocess.CompletedProcess[str]]:
    """How each of these starts ended; two at a time."""

    def start(case: str) -> subprocess.CompletedProcess[str]:
        folder = tmp_path_factory.mktemp("start")
        env = environment(bundle, folder)
        CANNOT_START[case][0](folder, env)
        return ended(env)

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(CANNOT_START, pool.map(start, CANNOT_START), strict=True))


@pytest.mark.parametrize("case", CANNOT_START)
def test_a_start_that_cannot_be_says_why(failed_starts: dict[str, subprocess.CompletedProcess[str]], case: str) -> None:
    """The exit code is 2, and one plain line on standard error names what is wrong."""
    done, named = failed_starts[case], CANNOT_START[case][1]
    assert done.returncode == 2, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("leeway serve: ")
    assert named in line


def test_a_port_that_is_taken_says_so(bundle: Bundle, tmp_path: Path) -> None:
    """The line names the address and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = ended(environment(bundle, tmp_path, LEEWAY_PORT=str(port)))
    (line,) = done.stderr.splitlines()
    assert (done.returncode, f"127.0.0.1:{port}" in line, "LEEWAY_PORT" in line) == (2, True, True)


def test_workers_that_cannot_start_end_the_whole(bundle: Bundle, tmp_path: Path) -> None:
    """Two workers without a bundle are not tried again and again: the exit code is 2, and plain lines say why."""
    env = environment(bundle, tmp_path, LEEWAY_METRICS_ENDPOINT="off", LEEWAY_BUNDLE=str(tmp_path / "nowhere"))
    done = ended(env, TWO_WORKERS)
    assert done.returncode == 2
    assert {line[:14] for line in done.stderr.splitlines()} == {"leeway serve: "}


def test_several_workers_cannot_serve_metrics(bundle: Bundle, tmp_path: Path) -> None:
    """With `/metrics` on, more than one worker is refused with the reason and the way out."""
    done = ended(environment(bundle, tmp_path), TWO_WORKERS)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "/metrics" in line
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in line


def test_several_workers_cannot_share_an_instance_id(bundle: Bundle, tmp_path: Path) -> None:
    """With one `service.instance.id` given for all, more than one worker is refused with the way out."""
    fixed = {"OTEL_RESOURCE_ATTRIBUTES": "service.instance.id=service", "LEEWAY_METRICS_ENDPOINT": "off"}
    done = ended(environment(bundle, tmp_path, **fixed), TWO_WORKERS)
    assert done.returncode == 2
    assert "OTEL_RESOURCE_ATTRIBUTES" in done.stderr


# --- what the process holds -----------------------------------------------------------------------------------------

COMPOSED = """
import sys
from contextlib import ExitStack
from leeway.settings import ServiceSettings
from service.__main__ import compose
with ExitStack() as stack:
    compose(ServiceSettings.read(), stack)
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


@pytest.fixture(scope="module")
def imported(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The packages that a service with an ONNX bundle and `/metrics` imports."""
    env = environment(bundle, tmp_path_factory.mktemp("imported"))
    done = subprocess.run(
        [sys.executable, "-c", COMPOSED], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["pandas", "sklearn", "scipy", "skops", "pyarrow", "evidently"])
def test_the_process_holds_nothing_that_trains(imported: set[str], package: str) -> None:
    """For an ONNX bundle neither what trains nor what compares is imported: it would double the memory."""
    assert "onnxruntime" in imported
    assert package not in imported


@pytest.mark.parametrize("package", ["grpc", "requests", "typer", "rich", "psycopg"])
def test_the_process_holds_nothing_that_it_does_not_use(imported: set[str], package: str) -> None:
    """Without a Collector, a terminal or PostgreSQL what speaks to them is not imported."""
    assert "prometheus_client" in imported
    assert package not in imported
