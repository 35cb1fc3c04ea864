from __future__ import annotations

import json
import shutil
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cli.main import app
from leeway.model.bundle import Bundle
from tests.service.processes import (
    QUICK_EXPORT,
    ROOT,
    Server,
    closed_port,
    ended,
    environment,
    eventually,
    rows_by_id,
    running,
    silent_listener,
)

# --- a start that fails -------------------------------------------------------------------------------------------

Break = Callable[[Path, dict[str, str]], None]


def no_bundle(folder: Path, env: dict[str, str]) -> None:
    """The bundle is missing."""
    env["LEEWAY_BUNDLE"] = str(folder / "nowhere")


def changed_byte(folder: Path, env: dict[str, str]) -> None:
    """One byte of the model is another."""
    path = copied_bundle(folder, env) / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def unknown_format(folder: Path, env: dict[str, str]) -> None:
    """The bundle was made by a later Leeway."""
    path = copied_bundle(folder, env) / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))


def copied_bundle(folder: Path, env: dict[str, str]) -> Path:
    """A copy of the bundle that may be changed."""
    copy = folder / "bundle"
    shutil.copytree(env["LEEWAY_BUNDLE"], copy)
    env["LEEWAY_BUNDLE"] = str(copy)
    return copy


def setting(**changes: str) -> Break:
    """An invalid setting."""
    return lambda _folder, env: env.update(changes)


def folder_as(variable: str) -> Break:
    """A file's path that is a folder."""
    return lambda folder, env: env.update({variable: str(folder)})


def file_as(variable: str) -> Break:
    """A folder's path that is a file."""

    def put(folder: Path, env: dict[str, str]) -> None:
        (folder / "file").touch()
        env[variable] = str(folder / "file")

    return put


CANNOT_START: dict[str, tuple[Break, str]] = {
    "no bundle": (no_bundle, "leeway train"),
    "changed byte": (changed_byte, "model.onnx"),
    "unknown format": (unknown_format, "99"),
    "bad port": (setting(LEEWAY_PORT="eighty"), "LEEWAY_PORT='eighty'"),
    "bad recording": (setting(LEEWAY_RECORDING="perhaps"), "LEEWAY_RECORDING='perhaps'"),
    "bad database": (setting(LEEWAY_DATABASE_URL="nonsense"), "LEEWAY_DATABASE_URL"),
    "endpoint without scheme": (
        setting(OTEL_EXPORTER_OTLP_ENDPOINT="localhost:4318"),
        "OTEL_EXPORTER_OTLP_ENDPOINT='localhost:4318': give http:// or https://",
    ),
    "spool is a file": (file_as("LEEWAY_SPOOL"), "LEEWAY_SPOOL"),
    "no certificate": (setting(LEEWAY_CERTIFICATE="/nowhere.pem"), "LEEWAY_CERTIFICATE=/nowhere.pem"),
    "unknown host": (setting(LEEWAY_HOST="no.such.host.invalid"), "no.such.host.invalid"),
    "spans file is a folder": (folder_as("LEEWAY_SPANS_FILE"), "LEEWAY_SPANS_FILE"),
}


@pytest.mark.usefixtures("entry_point")
@pytest.mark.parametrize("case", CANNOT_START)
def test_a_failed_start_says_why(
    bundle: Bundle, tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 2, and one plain line on standard error names what is wrong."""
    damage, named = CANNOT_START[case]
    env = environment(bundle, tmp_path)
    damage(tmp_path, env)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match="2"):
        app(["serve"])
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("leeway")
    assert named in line


def test_a_taken_port_says_so(bundle: Bundle, tmp_path: Path) -> None:
    """The process exits with 2; the line names the address and the setting to change."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = ended(environment(bundle, tmp_path, LEEWAY_PORT=str(port)))
    (line,) = done.stderr.splitlines()
    assert (done.returncode, f"127.0.0.1:{port}" in line, "LEEWAY_PORT" in line) == (2, True, True)


# --- what it imports ----------------------------------------------------------------------------------------------

COMPOSED = """
import sys
from contextlib import ExitStack
from leeway.settings import ServiceSettings
from service.__main__ import compose
with ExitStack() as stack:
    compose(ServiceSettings.read(), stack)
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def imported(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The modules that a service with an ONNX bundle and `/metrics` imports."""
    env = environment(bundle, tmp_path_factory.mktemp("imported"))
    done = subprocess.run(
        [sys.executable, "-c", COMPOSED], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["pandas", "sklearn", "scipy", "skops", "pyarrow", "evidently"])
def test_the_process_imports_nothing_that_trains(imported: set[str], package: str) -> None:
    """For an ONNX bundle no package of training or comparison is imported: it would double the memory."""
    assert "onnxruntime" in imported
    assert package not in imported


@pytest.mark.parametrize("module", ["grpc", "requests", "typer", "rich", "psycopg", "sqlalchemy.dialects.postgresql"])
def test_the_process_imports_nothing_that_it_does_not_use(imported: set[str], module: str) -> None:
    """Without a Collector, a terminal and PostgreSQL, their clients are not imported."""
    assert {"prometheus_client", "sqlalchemy.dialects.sqlite"} <= imported
    assert module not in imported


# --- crashes and outages ------------------------------------------------------------------------------------------


@dataclass
class Killed:
    """Predictions that were answered before a `kill -9`, and what the database holds after another start."""

    recorded: list[str]
    stored: Counter[str]


@pytest.fixture(scope="module")
def killed(bundle: Bundle, example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Four clients send without a pause; after a hundred answers the service is killed, then started and stopped."""
    folder = tmp_path_factory.mktemp("killed")
    env = environment(bundle, folder)
    recorded: list[str] = []
    with running(folder, env) as server:
        assert server.url
        threads = [threading.Thread(target=send_until_killed, args=(server, example, recorded)) for _ in range(4)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(recorded) > 100)
        server.process.kill()
        for thread in threads:
            thread.join()
    with running(folder, env) as server:
        eventually(lambda: rows_by_id(folder / "leeway.db").keys() >= set(recorded))
        server.stop()
    return Killed(recorded, rows_by_id(folder / "leeway.db"))


def send_until_killed(server: Server, body: dict[str, Any], recorded: list[str]) -> None:
    """Keep the id of each recorded answer, until the service is gone."""
    with server.client() as client:
        while True:
            try:
                answer = client.post("/predict", json=body).json()
            except (httpx2.TransportError, ValueError):
                return
            if answer["recorded"]:
                recorded.append(answer["prediction_id"])


def test_kill_9_loses_no_recorded_answer(killed: Killed) -> None:
    """Every answer with `"recorded": true` reaches the database after another start."""
    assert len(killed.recorded) > 100
    assert set(killed.recorded) - killed.stored.keys() == set()


def test_kill_9_duplicates_no_answer(killed: Killed) -> None:
    """Each is stored exactly once."""
    assert set(killed.stored.values()) == {1}


def test_a_database_that_is_unreachable_at_the_start_is_found_later(
    bundle: Bundle, example: dict[str, Any], tmp_path: Path
) -> None:
    """The service starts degraded, answers features, and writes what it recorded once the database can be opened."""
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


def test_without_postgresql_features_are_still_answered(
    bundle: Bundle, example: dict[str, Any], tmp_path: Path
) -> None:
    """With PostgreSQL's port closed the service starts degraded and answers features; customers get a 503."""
    url = f"postgresql+psycopg://leeway@127.0.0.1:{closed_port()}/leeway"
    with running(tmp_path, environment(bundle, tmp_path, LEEWAY_DATABASE_URL=url)) as server:
        health = httpx2.get(f"{server.url}/health/ready").json()["status"]
        (answer,) = server.ask(example)
        customer = httpx2.post(f"{server.url}/predict", json={"user_id": "7590-VHVEG"}).status_code
        code, took_s = server.stop()
    assert (health, answer["recorded"], customer, code) == ("degraded", True, 503, 0)
    assert took_s < 5


# --- without a Collector ------------------------------------------------------------------------------------------


@dataclass
class Run:
    """How a service did whose Collector is unreachable."""

    median_s: float
    exit_code: int
    stopped_in_s: float
    warnings: list[dict[str, Any]]


FLUSH_S = 10.0
COLLECTORS: dict[str, tuple[str, str]] = {
    "closed port, http": ("closed port", "http/protobuf"),
    "closed port, grpc": ("closed port", "grpc"),
    "never accepts, http": ("never accepts", "http/protobuf"),
    "never accepts, grpc": ("never accepts", "grpc"),
    "never answers, http": ("never answers", "http/protobuf"),
}
NONE = "none"


@pytest.fixture(scope="module")
def runs(bundle: Bundle, example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """All cases at once, because they mostly wait: each gets 60 requests in turn, then all are stopped."""
    with ExitStack() as stack:
        addresses = {
            "closed port": f"http://127.0.0.1:{closed_port()}",
            "never accepts": stack.enter_context(silent_listener(accepts=False)),
            "never answers": stack.enter_context(silent_listener(accepts=True)),
        }
        servers: dict[str, Server] = {}
        for case in (NONE, *COLLECTORS):
            folder = tmp_path_factory.mktemp("collector")
            env = environment(bundle, folder)
            if case != NONE:
                collector, protocol = COLLECTORS[case]
                otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": addresses[collector], "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
                env |= QUICK_EXPORT | otlp
            servers[case] = stack.enter_context(running(folder, env))
        times_s: dict[str, list[float]] = {case: [] for case in servers}
        clients = {case: stack.enter_context(server.client()) for case, server in servers.items()}
        for _ in range(60):
            for case, client in clients.items():
                started_s = time.perf_counter()
                client.post("/predict", json=example).raise_for_status()
                times_s[case].append(time.perf_counter() - started_s)
        with ThreadPoolExecutor(len(servers)) as pool:
            stopped = dict(zip(servers, pool.map(Server.stop, servers.values()), strict=True))
        return {
            case: Run(
                statistics.median(times_s[case]),
                *stopped[case],
                [line for line in server.log() if line["level"] != "INFO"],
            )
            for case, server in servers.items()
        }


@pytest.mark.parametrize("case", COLLECTORS)
def test_without_a_collector_the_service_stops_soon(runs: dict[str, Run], case: str) -> None:
    """A Collector that is down or hangs does not keep the process from exiting with 0 within ten seconds."""
    assert runs[case].exit_code == 0
    assert runs[case].stopped_in_s < FLUSH_S


@pytest.mark.parametrize("case", COLLECTORS)
def test_without_a_collector_no_request_is_slower(runs: dict[str, Run], case: str) -> None:
    """Requests do not wait for an export. The bound is wide: it would catch a wait, not a cost."""
    assert runs[case].median_s < 3 * runs[NONE].median_s + 0.02


@pytest.mark.parametrize("case", COLLECTORS)
def test_without_a_collector_the_log_is_quiet(runs: dict[str, Run], case: str) -> None:
    """Each exporter warns once a minute, not several times a second, and without a traceback."""
    warnings = runs[case].warnings
    assert len(warnings) <= 4
    assert not [line for line in warnings if "exception" in line]
