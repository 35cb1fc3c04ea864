from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from leeway.model.bundle import Bundle
from leeway.settings import ServiceSettings
from leeway.shutdown import STOP_SIGNALS
from service.process.drainer import DrainerProcess
from service.spool.spool import Spool
from service.spool.status import read_status
from tests.leeway.store.records import a_record, some_records
from tests.service.processes import ROOT, environment, eventually, rows_by_id, running, start_python
from tests.service.spool.spools import open_spool

IMPORTED = "import sys, service.spool.__main__; print(*sys.modules)"


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    """The settings of a service whose files are all in one folder."""
    return ServiceSettings.read(database_url=f"sqlite:///{tmp_path / 'leeway.db'}", spool=tmp_path / "spool")


@contextmanager
def drained(settings: ServiceSettings) -> Iterator[tuple[Spool, DrainerProcess]]:
    """An open spool and its drainer's process, which has begun to work."""
    with open_spool(settings.spool) as spool, DrainerProcess(settings) as process:
        assert eventually(lambda: read_status(settings.spool) is not None)
        yield spool, process


def pid_of(process: DrainerProcess) -> int | None:
    """The process id of the running drainer."""
    return process._process.pid if process._process is not None else None


def stored(settings: ServiceSettings) -> set[str]:
    """The ids in the database."""
    return set(rows_by_id(Path(settings.database_url.removeprefix("sqlite:///"))))


def is_gone(pid: int) -> bool:
    """Whether no process has this id."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """The modules that the drainer imports."""
    done = subprocess.run([sys.executable, "-c", IMPORTED], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "module",
    [
        "fastapi",
        "uvicorn",
        "onnxruntime",
        "numpy",
        "pandas",
        "pydantic",
        "opentelemetry.sdk",
        "httpx2",
        "deltalake",
        "pyarrow",
    ],
)
def test_the_drainer_imports_little(imported: set[str], module: str) -> None:
    """It lives as long as the service, so its memory counts."""
    assert "sqlalchemy" in imported
    assert module not in imported


def test_it_stores_what_waits_until_it_is_stopped(settings: ServiceSettings) -> None:
    """What was appended just before the end is stored too."""
    with drained(settings) as (spool, _):
        spool.append([a_record(0)])
        assert eventually(lambda: len(stored(settings)) == 1)
        spool.append(some_records(9, start=1))
    assert len(stored(settings)) == 10


def test_a_killed_drainer_is_replaced_and_loses_nothing(
    settings: ServiceSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so; what waited is stored by the new one."""
    with drained(settings) as (spool, process), caplog.at_level(logging.ERROR):
        first = pid_of(process)
        assert first is not None
        spool.append(some_records(5))
        os.kill(first, signal.SIGKILL)
        spool.append(some_records(5, start=5))
        assert eventually(lambda: len(stored(settings)) == 10)
        assert pid_of(process) not in {None, first}
    assert [record.getMessage() for record in caplog.records] == ["the drainer exited with -9; restarting it in 0.25 s"]


def test_stop_signals_do_not_end_it(settings: ServiceSettings) -> None:
    """A terminal sends Ctrl-C, and systemd SIGTERM, to all processes at once; the last answers are still stored."""
    with drained(settings) as (spool, process):
        pid = pid_of(process)
        assert pid is not None
        for number in STOP_SIGNALS:
            os.kill(pid, number)
        spool.append([a_record()])
        assert eventually(lambda: len(stored(settings)) == 1)
        assert pid_of(process) == pid


def test_one_that_cannot_start_is_tried_less_and_less_often(
    settings: ServiceSettings, caplog: pytest.LogCaptureFixture
) -> None:
    """The delay doubles; stopping does not wait for it."""
    with caplog.at_level(logging.ERROR), DrainerProcess(settings, [sys.executable, "-c", "raise SystemExit(3)"]):
        assert eventually(lambda: len(caplog.records) == 2)
    assert [record.getMessage() for record in caplog.records] == [
        "the drainer exited with 3; restarting it in 0.5 s",
        "the drainer exited with 3; restarting it in 1 s",
    ]


def test_a_missing_program_is_an_exit_too(settings: ServiceSettings, caplog: pytest.LogCaptureFixture) -> None:
    """The service goes on without it, and the log says why."""
    with caplog.at_level(logging.ERROR), DrainerProcess(settings, ["/nowhere/python"]):
        assert eventually(lambda: bool(caplog.records))
    assert "No such file" in caplog.text


def test_one_that_hangs_is_killed(settings: ServiceSettings) -> None:
    """A shutdown takes no longer than its timeout."""
    process = DrainerProcess(settings, [sys.executable, "-c", "import time; time.sleep(600)"])
    process.start()
    assert eventually(lambda: pid_of(process) is not None)
    pid = pid_of(process)
    assert pid is not None
    process.stop(0.05)
    assert is_gone(pid)


def test_it_ends_with_a_service_that_was_killed(bundle: Bundle, example: dict[str, Any], tmp_path: Path) -> None:
    """Nobody else would end it; before, it stores what was answered."""
    with running(tmp_path, environment(bundle, tmp_path), start=start_python) as server:
        answers = server.ask(example, 5)
        assert eventually(lambda: read_status(tmp_path / "spool") is not None)
        (drainer,) = children_of(server.process.pid)
        server.process.kill()
        assert eventually(lambda: is_gone(drainer))
    assert set(rows_by_id(tmp_path / "leeway.db")) == {answer["prediction_id"] for answer in answers}


def test_answers_go_on_without_a_drainer(bundle: Bundle, example: dict[str, Any], tmp_path: Path) -> None:
    """A stopped drainer costs no answer; once it continues, all of them are stored."""
    with running(tmp_path, environment(bundle, tmp_path), start=start_python) as server:
        server.ask(example)
        assert eventually(lambda: read_status(tmp_path / "spool") is not None)
        (drainer,) = children_of(server.process.pid)
        os.kill(drainer, signal.SIGSTOP)
        answers = server.ask(example, 20)
        metrics = httpx2.get(f"{server.url}/metrics").text
        os.kill(drainer, signal.SIGCONT)
        assert eventually(lambda: len(rows_by_id(tmp_path / "leeway.db")) == 21)
    assert all(answer["recorded"] for answer in answers)
    assert "leeway_prediction_log_drainer_up" in metrics


def children_of(pid: int) -> list[int]:
    """The process ids of a process's children, by whichever thread they were started."""
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
