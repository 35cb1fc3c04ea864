from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drift.__main__ import compose, main
from leeway.settings import DriftSettings
from tests.drift.worlds import NOON, RATE, World, calm_rows

ROOT = Path(__file__).parents[2]


def settings(world: World, **changes: object) -> DriftSettings:
    """The worker's settings in this world: a free port, and nothing from the environment."""
    given: dict[str, Any] = {
        "database_url": f"sqlite:///{world.database}",
        "bundle": world.bundle.folder,
        "reports": world.reports.path,
        "reports_port": 0,
    }
    return DriftSettings.read(**(given | changes))


def environment(world: World, **changes: str) -> dict[str, str]:
    """The same for a process of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEEWAY_", "OTEL_"))}
    return kept | {
        "LEEWAY_DATABASE_URL": f"sqlite:///{world.database}",
        "LEEWAY_BUNDLE": str(world.bundle.folder),
        "LEEWAY_REPORTS": str(world.reports.path),
        "LEEWAY_REPORTS_PORT": "0",
        **changes,
    }


@pytest.fixture
def like_a_process() -> Iterator[None]:
    """Restore what `main` changes: two signals."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    signals = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, signals, strict=True):
        signal.signal(number, handler)


# --- what keeps it from starting ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("like_a_process")
@pytest.mark.parametrize("url", ["ftp://x", "hooks.example", "http://", "http://host:port/", "https://a host/"])
def test_an_invalid_webhook_address_is_rejected(world: World, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one line that names the variable, at the start."""
    assert main(settings(world, webhook_url=url)) == 2
    error = capsys.readouterr().err
    assert error.startswith("leeway drift worker: LEEWAY_WEBHOOK_URL=")
    assert error.count("\n") == 1


@pytest.mark.usefixtures("like_a_process")
def test_a_port_in_use_is_an_error(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one line that names the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(settings(world, reports_port=taken.getsockname()[1])) == 2
    error = capsys.readouterr().err
    assert "LEEWAY_REPORTS_PORT" in error
    assert error.count("\n") == 1


@pytest.mark.usefixtures("like_a_process")
def test_an_invalid_database_address_is_an_error(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2 and one line."""
    assert main(settings(world, database_url="excel://here")) == 2
    error = capsys.readouterr().err
    assert error.startswith("leeway drift worker: LEEWAY_DATABASE_URL")
    assert error.count("\n") == 1


def test_an_invalid_setting_is_an_error(world: World) -> None:
    """`leeway drift worker` ends with 2 and one line without a traceback."""
    ran = subprocess.run(
        [sys.executable, "-m", "cli.main", "drift", "worker"],
        cwd=ROOT,
        env=environment(world, LEEWAY_DRIFT_INTERVAL="often"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert ran.stderr.startswith("leeway: LEEWAY_DRIFT_INTERVAL='often'")
    assert (ran.stderr.count("\n"), ran.stdout) == (1, "")


# --- what it needs ------------------------------------------------------------------------------------------------


def test_without_the_page_a_worker_is_small(world: World) -> None:
    """Without Evidently's page a run imports no library of models or frames, and stays under 150 MiB."""
    world.serve(calm_rows(RATE), start_s=(datetime.now(UTC) - NOON).total_seconds() - 300, seconds=290)
    code = (
        "import sys\nfrom contextlib import ExitStack\nfrom drift.__main__ import compose\n"
        "from leeway.settings import DriftSettings\n"
        "with ExitStack() as stack: compose(DriftSettings.read(), stack)()\n"
        "status = open('/proc/self/status').read()\n"  # getrusage counts what this process had when it was forked
        "print(int(status.partition('VmHWM:')[2].split()[0]) // 1024)\n"
        "print({'evidently', 'pandas', 'sklearn', 'scipy', 'onnxruntime'} & sys.modules.keys())"
    )
    given = environment(world, LEEWAY_DRIFT_REPORT="false")
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=given, capture_output=True, text=True, check=True)
    memory_mib, modules = ran.stdout.splitlines()
    assert [run["decision"] for run in world.runs()] == ["NO_ACTION"]
    assert modules == "set()"
    assert int(memory_mib) < 150


# --- what does not ------------------------------------------------------------------------------------------------


def test_it_starts_without_a_bundle(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Drift is unknown until the first training; the bundle is picked up when it appears."""
    world.bundle.folder.rename(world.folder / "later")
    with ExitStack() as stack:
        cycle = compose(settings(world), stack)
        cycle()
        assert world.runs() == []
        assert "drift is unknown" in caplog.text
        (world.folder / "later").rename(world.bundle.folder)
        cycle()
    assert [row["model_version"] for row in world.runs()] == [world.bundle.version]


def test_it_starts_without_the_database(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Drift is unknown until the database can be opened; then its tables are created."""
    world.engine.dispose()
    for file in world.database.parent.iterdir():
        file.unlink()
    world.database.mkdir()
    with ExitStack() as stack:
        cycle = compose(settings(world), stack)
        cycle()
        assert "drift is unknown: unable to open database file" in caplog.text
        world.database.rmdir()
        cycle()
    assert [row["recommendation"] for row in world.runs()] == ["UNKNOWN"]


def test_it_starts_without_a_writable_report_folder(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk at a restart does not stop the worker."""
    world.reports.path.write_text("a file where the folder should be")
    with ExitStack() as stack:
        compose(settings(world), stack)()
    assert "reports cannot be written yet" in caplog.text
    assert "drift is unknown" in caplog.text


def test_temporary_files_are_removed_at_the_start(world: World) -> None:
    """A partial report of a killed process is removed, and an index is written."""
    half = world.reports.path / "runs" / ".tmp-01a20725-becc-73b9-bf77-f99f508bba04"
    half.mkdir(parents=True)
    with ExitStack() as stack:
        compose(settings(world), stack)
    assert not half.exists()
    assert (world.reports.path / "index.html").is_file()


def test_metrics_are_served_with_the_reports(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Without a Collector `/metrics` has the worker's metrics, under their Prometheus names."""
    with ExitStack() as stack, caplog.at_level(logging.INFO):
        compose(settings(world), stack)()
        (url,) = [vars(record)["url"] for record in caplog.records if "url" in vars(record)]
        with urllib.request.urlopen(f"{url}/metrics") as answer:  # noqa: S310 (our own address)
            text = answer.read().decode()
    assert "leeway_drift_threshold 0.3" in text
    assert 'leeway_drift_runs_total{error_type="too_few_rows",leeway_drift_recommendation="UNKNOWN"} 1.0' in text


def test_links_use_the_bound_port(world: World, tmp_path: Path) -> None:
    """Without a base of links, the run's span links to the page that is served."""
    with ExitStack() as stack:
        compose(settings(world, spans_file=tmp_path / "spans.jsonl"), stack)()
    spans = [json.loads(line) for line in (tmp_path / "spans.jsonl").read_text().splitlines()]
    (root,) = [span for span in spans if span["name"] == "drift run"]
    assert root["attributes"]["leeway.drift.report.url"].startswith("http://127.0.0.1:")
    assert "http://127.0.0.1:8001" not in root["attributes"]["leeway.drift.report.url"]


# --- the end ------------------------------------------------------------------------------------------------------


def start(world: World, **changes: str) -> subprocess.Popen[str]:
    """Start a worker, and wait until it serves its page: then the first cycle starts."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cli.main", "drift", "worker"],
        cwd=ROOT,
        env=environment(world, **changes),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.readline()
    assert "reports on" in said, said
    return process


def test_sigterm_in_the_middle_of_a_run_leaves_no_half_report(world: World) -> None:
    """During the import of Evidently: exit code 0 within 10 s, and the run exists completely or not at all."""
    start_s = time.time() - world.clock.seconds() - 300
    world.serve(calm_rows(RATE), start_s=start_s, seconds=290)
    process = start(world)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    stopped = time.monotonic()
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0, output
    assert time.monotonic() - stopped < 10
    assert "Traceback" not in output
    assert [folder.name for folder in world.run_folders()] == [row["run_id"] for row in world.runs()]


@pytest.mark.long
def test_sigterm_between_two_runs_ends_at_once(world: World) -> None:
    """While it waits for the next cycle it stops at once."""
    process = start(world)
    deadline = time.monotonic() + 20
    while not world.runs() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    stopped = time.monotonic()
    output, _ = process.communicate(timeout=20)
    assert (process.returncode, len(world.runs())) == (0, 1), output
    assert time.monotonic() - stopped < 3
