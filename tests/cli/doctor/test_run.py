from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from cli.doctor import metrics, run
from cli.doctor.run import run_checks
from leeway.settings import DoctorSettings
from tests import preloaded
from tests.cli.doctor.replies import a_service, vector
from tests.cli.stub_server import json_server
from tests.service.processes import ROOT, eventually

DOCTOR = ("-m", "cli.main", "doctor", "--timeout", "60")
QUERY = "/api/v1/query"
SOON_S, LATER_S = 0.2, 0.8


def test_late_exports_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default metrics may arrive one export later than the other signals."""
    monkeypatch.setattr(run, "SIGNAL_S", SOON_S)
    monkeypatch.setattr(metrics, "SCRAPE_S", 5.0)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", str(1_000 * LATER_S))
    began_s = time.monotonic()

    def late(_: str) -> tuple[int, object]:
        return 200, vector(({"job": "j"}, 7 + (time.monotonic() - began_s > LATER_S)))

    with json_server(a_service() | {QUERY: late}) as server:
        settings = DoctorSettings.read(
            url=server.url, prometheus_url=server.url, jaeger_url=server.url, database_url="sqlite:///none/such.db"
        )
        found = {each.check: each for each in run_checks(settings).all}
    assert (found["metric"].state, found["trace"].state) == ("ok", "failed")


def test_ctrl_c_ends_the_wait(tmp_path: Path) -> None:
    """Ctrl-C during the wait for a signal ends the command at once, not after --timeout."""
    with json_server(a_service()) as server:
        process = preloaded.start(
            [
                *DOCTOR,
                "--url",
                server.url,
                "--jaeger-url",
                server.url,
                "--database-url",
                f"sqlite:///{tmp_path}/none.db",
            ],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert eventually(lambda: any(each.path.startswith("/api/v3/traces/") for each in server.requests))
            process.send_signal(signal.SIGINT)
            began_s = time.monotonic()
            code = process.wait(30)
        finally:
            process.kill()
            process.wait()
    assert time.monotonic() - began_s < 10
    assert code != 0
