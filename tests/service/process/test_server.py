from __future__ import annotations

import asyncio
import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from leeway.model.bundle import Bundle
from service.http.limits import RequestLimits
from service.process.server import LAG_INTERVAL_S, measure_lag, run, server_config
from tests.service.processes import SHUTDOWN_S, Server, environment, running


def warnings_of(server: Server) -> tuple[str, list[dict[str, Any]]]:
    """What is on standard error, and the lines of the log above INFO."""
    return server.err.read_text(), [line for line in server.log() if line["level"] != "INFO"]


def test_sigterm_finishes_requests_in_flight(bundle: Bundle, example: dict[str, Any], tmp_path: Path) -> None:
    """A batch that is still being sent is answered completely; the exit code is 0, and nothing warns.

    A client that keeps an idle connection open does not delay the end.
    """
    body = json.dumps({"items": [example] * 1_000}).encode()
    head = (
        f"POST /predict/batch HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    )
    with running(tmp_path, environment(bundle, tmp_path)) as server, server.client() as idle:
        idle.get("/model").raise_for_status()
        address = ("127.0.0.1", httpx2.URL(server.url).port or 0)
        with socket.create_connection(address, timeout=SHUTDOWN_S) as connection:
            connection.sendall(head.encode() + b"\r\n" + body[:1_000])
            time.sleep(0.2)
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
            connection.sendall(body[1_000:])
            with connection.makefile("rb") as stream:
                answer = stream.read()
        answered_s = time.monotonic()
        code, took_s = server.process.wait(SHUTDOWN_S), time.monotonic() - answered_s
    results = json.loads(answer.partition(b"\r\n\r\n")[2])["results"]
    assert (code, len(results), all(result["recorded"] for result in results)) == (0, 1_000, True)
    assert (warnings_of(server), took_s < 5) == (("", []), True)


def test_ctrl_c_ends_the_service_with_0(bundle: Bundle, tmp_path: Path) -> None:
    """It ends soon, though a client keeps its connection open, and without a warning."""
    with running(tmp_path, environment(bundle, tmp_path)) as server, server.client() as idle:
        idle.get("/model").raise_for_status()
        code, took_s = server.stop(signal.SIGINT)
    assert (code, warnings_of(server), took_s < 5) == (0, ("", []), True)


# --- the event loop's lag -----------------------------------------------------------------------------------------


async def lags(*, blocked_s: float) -> list[float]:
    """The lags of a loop that sleeps, is blocked once, and sleeps again."""
    found: list[float] = []
    task = asyncio.create_task(measure_lag(found.append, interval_s=0.01))
    await asyncio.sleep(0.03)
    time.sleep(blocked_s)  # noqa: ASYNC251 (it blocks the loop on purpose)
    await asyncio.sleep(0.03)
    task.cancel()
    return found


def test_a_blocked_loop_is_late() -> None:
    """Something that blocks the loop for 0.2 s shows as a lag of about that."""
    assert 0.15 < max(asyncio.run(lags(blocked_s=0.2))) < 0.5


def test_an_idle_loop_is_measured_too() -> None:
    """The lag of a free loop is recorded at every interval, and is never negative."""
    found = asyncio.run(lags(blocked_s=0))
    assert len(found) >= 3
    assert min(found) >= 0


async def _serve_briefly(self: uvicorn.Server, sockets: list[socket.socket]) -> None:  # noqa: ARG001 (uvicorn's signature)
    await asyncio.sleep(0.05)
    names = {task.get_name() for task in asyncio.all_tasks()}
    raise RuntimeError(f"measured: {'loop lag' in names}")


@pytest.mark.parametrize("measured", [True, False])
def test_the_lag_is_measured_with_telemetry_until_the_server_ends(
    measured: bool,  # noqa: FBT001 (a case)
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without a receiver for the lag nothing measures it; an error in the server ends the measurement."""
    recorded: list[float] = []
    monkeypatch.setattr(uvicorn.Server, "serve", _serve_briefly)
    config = server_config(FastAPI(), None, RequestLimits(20, 10, lambda *_: None))
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(RuntimeError, match=f"measured: {measured}"),
    ):
        run(config, listener, recorded.append if measured else None)
    until_the_end = len(recorded)
    time.sleep(2 * LAG_INTERVAL_S)
    assert len(recorded) == until_the_end
