from __future__ import annotations

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from leeway.model.bundle import Bundle
from tests.service.process.told import SHUTDOWN_S
from tests.service.processes import environment, running


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
