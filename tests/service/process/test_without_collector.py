from __future__ import annotations

import statistics
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from leeway.model.bundle import Bundle
from tests.service.process.told import QUICK
from tests.service.processes import Server, closed_port, environment, running, silent_listener

FLUSH_S = 10.0


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
