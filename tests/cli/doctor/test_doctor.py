from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cli.doctor.examination import examine
from leeway.model.bundle import Bundle
from leeway.settings import DoctorSettings
from tests.cli.doctor.backends import a_service, backend, vector
from tests.cli.doctor.place import Place, a_place
from tests.service.processes import ROOT, closed_port

HEAVY = ["pandas", "numpy", "sklearn", "onnxruntime", "fastapi", "evidently", "opentelemetry", "httpx2", "pyarrow"]
ARRIVALS = {"prediction", "row", "trace", "metric"}


@pytest.fixture(scope="module")
def place(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The service alone, with /metrics and a spans file."""
    folder = tmp_path_factory.mktemp("embedded")
    with a_place(bundle, folder, LEEWAY_SPANS_FILE=str(folder / "spans.jsonl")) as made:
        yield made


# --- the service alone --------------------------------------------------------------------------------------------


def test_alone_all_that_is_set_up_is_well(place: Place) -> None:
    """Row, trace and count of one prediction arrive; what nobody set up is left out; the exit code is 0."""
    ran = place.doctor()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # Somebody's worker may run here, and be looked at.
    lines = [line for line in ran.stdout.splitlines() if line.split()[1:2] != ["drift"]]
    assert {line.split()[1] for line in lines if line.startswith("ok ")} == {
        "service", "database", *ARRIVALS, "clocks", "disk", "ports"
    }  # fmt: skip
    assert {line.split()[0] for line in lines[:-1]} == {"ok", "skipped"}
    assert " checks went well" in lines[-1]


def test_one_prediction_is_made_and_marked(place: Place) -> None:
    """No more than one; it is the one that the document names."""
    before = place.checks_stored()
    found = json.loads(place.doctor("--json").stdout)
    assert place.checks_stored() == before + 1
    with closing(sqlite3.connect(place.folder / "leeway.db")) as connection:
        query = "SELECT trace_id, is_synthetic FROM predictions WHERE prediction_id = ?"
        row = connection.execute(query, (found["prediction"]["prediction_id"],)).fetchone()
    assert row == (found["prediction"]["trace_id"], 1)


def test_versions_are_told(place: Place) -> None:
    """Of the service, from what it says of itself, and of the database."""
    found = json.loads(place.doctor("--json").stdout)
    versions = {each["check"]: each["version"] for each in found["checks"] if each["version"]}
    assert versions.keys() == {"service", "database", "trace"}
    assert versions["service"] == versions["trace"] == found["version"]


def test_a_backend_that_is_named_and_away_makes_it_ill(place: Place) -> None:
    """The exit code is 1, each failing line ends with the next thing to do, and what works is still found."""
    nowhere = f"http://127.0.0.1:{closed_port()}"
    ran = place.doctor("--jaeger-url", nowhere, "--prometheus-url", nowhere, "--timeout", "1")
    assert ran.returncode == 1
    failed = [line for line in ran.stdout.splitlines() if line.startswith("failed")]
    assert {line.split()[1] for line in failed} == {"prometheus", "jaeger", "trace", "metric", "scrapes", "ports"}
    assert [line for line in failed if ". Next: " not in line] == []
    assert "ok       row" in ran.stdout


def test_without_a_service_nothing_is_asked_for(place: Place) -> None:
    """The rest is looked at all the same."""
    before = place.checks_stored()
    states = place.states("--url", f"http://127.0.0.1:{closed_port()}")
    assert {states[check] for check in ARRIVALS} == {"skipped"}
    assert (states["service"], states["ports"], states["database"]) == ("failed", "failed", "ok")
    assert place.checks_stored() == before


def test_without_its_database_the_row_is_not_waited_for(place: Place, tmp_path: Path) -> None:
    """That the database is not here is told once; the other signals arrive."""
    states = place.states("--database-url", f"sqlite:///{tmp_path / 'none.db'}")
    assert (states["database"], states["row"], states["drift run"]) == ("failed", "skipped", "skipped")
    assert (states["prediction"], states["trace"], states["metric"]) == ("ok", "ok", "ok")


def test_a_worker_that_is_named_must_answer(place: Place) -> None:
    """One that is not named may be away, as the other tests show."""
    with backend({"/": (200, "<html>")}) as page:
        states = place.states("--reports-url", page.url)
    assert (states["drift worker"], states["drift run"]) == ("ok", "warning")
    states = place.states("--reports-url", f"http://127.0.0.1:{closed_port()}")
    assert (states["drift worker"], states["ports"]) == ("failed", "failed")


def test_a_setting_that_cannot_be_used_is_bad_input(place: Place) -> None:
    """Before anybody is asked anything."""
    ran = place.doctor(LEEWAY_DRIFT_INTERVAL="often")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("leeway: LEEWAY_DRIFT_INTERVAL='often'")


# --- what it must not do ------------------------------------------------------------------------------------------


def test_a_check_that_breaks_takes_no_other_with_it() -> None:
    """An answer that nobody expected is that check's failure; the others are made."""
    odd = {"result": {"resourceSpans": [{"resource": {"attributes": [{"key": "x", "value": "text"}]}}]}}
    with backend(a_service() | {"/": (200, ""), f"/api/v3/traces/{'a' * 32}": (200, odd)}) as there:
        settings = DoctorSettings.read(url=there.url, jaeger_url=there.url, database_url="sqlite:///none/such.db")
        found = {each.check: each for each in examine(settings, 1).findings}
    assert found["trace"].state == "failed"
    assert "the check itself failed (AttributeError" in found["trace"].found
    assert (found["service"].state, found["prediction"].state) == ("ok", "ok")


def test_what_waits_waits_together() -> None:
    """Signals that never arrive cost their time once, not each."""
    with backend(a_service() | {"/": (200, ""), "/api/v1/query": (200, vector(({}, 1)))}) as there:
        settings = DoctorSettings.read(
            url=there.url, jaeger_url=there.url, prometheus_url=there.url, database_url="sqlite:///none/such.db"
        )
        examination = examine(settings, 1)
    states = {each.check: each.state for each in examination.findings}
    assert (states["trace"], states["metric"]) == ("failed", "failed")
    assert 1 <= examination.took_s < 2


def test_it_runs_in_the_services_image() -> None:
    """Nothing of the drift image, and nothing slow, is imported for it."""
    code = (
        "import sys, cli.doctor.examination, cli.doctor.report;"
        f" print('imported:', sorted(set({HEAVY}) & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.strip() == "imported: []"
