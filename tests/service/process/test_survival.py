from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

from leeway.model.bundle import Bundle
from tests.service.process.told import pid_of, rows_by_id, starts
from tests.service.processes import SUPERVISED, Server, closed_port, environment, eventually, running


@dataclass
class Killed:
    """Answers that were given before a `kill -9`, and what the database holds after another start."""

    recorded: list[str]
    stored: Counter[str]


@pytest.fixture(scope="module")
def killed(bundle: Bundle, example: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Four clients ask without a pause; after a hundred answers the service is killed, then started and stopped."""
    folder = tmp_path_factory.mktemp("killed")
    env = environment(bundle, folder)
    recorded: list[str] = []
    with running(folder, env) as server:
        assert server.url
        threads = [threading.Thread(target=ask_until_killed, args=(server, example, recorded)) for _ in range(4)]
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
