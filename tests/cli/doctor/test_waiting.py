from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cli.doctor import examination, metrics
from cli.doctor.examination import examine
from leeway.settings import DoctorSettings
from tests.cli.doctor.backends import a_service, backend, vector
from tests.service.processes import ROOT, eventually

DOCTOR = (sys.executable, "-m", "cli.main", "doctor", "--timeout", "60")
QUERY = "/api/v1/query"
SOON_S, LATER_S = 0.2, 0.8


def test_a_count_that_is_exported_late_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody says how long, metrics may take an export longer than the other signals."""
    monkeypatch.setattr(examination, "SIGNAL_S", SOON_S)
    monkeypatch.setattr(metrics, "SCRAPE_S", 5.0)
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", str(1_000 * LATER_S))
    began_s = time.monotonic()

    def late(_: str) -> tuple[int, object]:
        return 200, vector(({"job": "j"}, 7 + (time.monotonic() - began_s > LATER_S)))

    with backend(a_service() | {QUERY: late}) as there:
        settings = DoctorSettings.read(
            url=there.url, prometheus_url=there.url, jaeger_url=there.url, database_url="sqlite:///none/such.db"
        )
        found = {each.check: each for each in examine(settings).findings}
    assert (found["metric"].state, found["trace"].state) == ("ok", "failed")


def test_ctrl_c_ends_the_waiting(tmp_path: Path) -> None:
    """Who interrupts it while a signal is waited for has the terminal back at once, not after --timeout."""
    with backend(a_service()) as there:
        process = subprocess.Popen(
            [*DOCTOR, "--url", there.url, "--jaeger-url", there.url, "--database-url", f"sqlite:///{tmp_path}/none.db"],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert eventually(lambda: any(path.startswith("/api/v3/traces/") for path, _ in there.asked))
            process.send_signal(signal.SIGINT)
            began_s = time.monotonic()
            code = process.wait(30)
        finally:
            process.kill()
            process.wait()
    assert time.monotonic() - began_s < 10
    assert code != 0
