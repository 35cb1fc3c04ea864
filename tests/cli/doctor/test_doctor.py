from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.doctor.examination import examine
from leeway.bundle import Bundle
from leeway.settings import DoctorSettings
from leeway.telemetry import names
from tests.cli.doctor.backends import Reply, a_service, backend, trace, vector
from tests.service.processes import ROOT, Server, Sink, closed_port, environment, otlp_sink, running

DOCTOR = (sys.executable, "-m", "cli.main", "doctor")
HEAVY = ["pandas", "numpy", "sklearn", "onnxruntime", "fastapi", "evidently", "opentelemetry", "httpx2", "pyarrow"]
INSTANCE = "the-only-one"
ARRIVALS = {"prediction", "row", "trace", "metric"}


@dataclass(frozen=True)
class Place:
    """A service that runs, and the environment in which the doctor finds it."""

    server: Server
    env: dict[str, str]
    folder: Path

    def doctor(self, *flags: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run `leeway doctor` in a pipe."""
        env = self.env | {"LEEWAY_URL": self.server.url} | changes
        return subprocess.run(
            [*DOCTOR, *flags], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False
        )

    def states(self, *flags: str, **changes: str) -> dict[str, str]:
        """The state of each check."""
        found = json.loads(self.doctor("--json", *flags, **changes).stdout)
        return {each["check"]: each["state"] for each in found["checks"]}

    def checks_stored(self) -> int:
        """How many predictions in the database are checks."""
        with closing(sqlite3.connect(self.folder / "leeway.db")) as connection:
            return int(connection.execute("SELECT count(*) FROM predictions WHERE is_check").fetchone()[0])


@contextmanager
def a_place(bundle: Bundle, folder: Path, **changes: str) -> Iterator[Place]:
    """Run a service with all its files in `folder`."""
    env = environment(bundle, folder, LEEWAY_REPORTS=str(folder / "reports"), **changes)
    with running(folder, env) as server:
        assert server.url
        yield Place(server, env, folder)


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
        query = "SELECT trace_id, is_check FROM predictions WHERE prediction_id = ?"
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


# --- a whole stack ------------------------------------------------------------------------------------------------


def as_jaeger(sink: Sink, path: str) -> tuple[int, object]:
    """What Jaeger would say, had it the spans of `sink`."""
    spans = [span for span in sink.spans() if span.trace_id.hex() == path.rpartition("/")[2]]
    return (200, trace(len(spans), namespace="leeway", instance_id=INSTANCE)) if spans else (404, {})


def as_prometheus(sink: Sink, path: str) -> tuple[int, object]:
    """What Prometheus would say, had it the newest metrics of `sink`."""
    if "query=up" in path:
        return 200, vector(({"job": "applications"}, 1))
    if "query=target_info" in path:
        return 200, vector(({"job": "otel-collector", "service.version": "0.161.0"}, 1))
    exported = sink.metrics(names.HTTP_REQUEST_DURATION.name)
    points = exported[-1].histogram.data_points if exported else []
    routes = [(point.count, {each.key: each.value.string_value for each in point.attributes}) for point in points]
    who = {"job": "leeway/leeway-service", "instance": INSTANCE}
    return 200, vector((who, sum(count for count, told in routes if told[names.HTTP_ROUTE] == "/predict")))


@contextmanager
def a_stack(bundle: Bundle, folder: Path) -> Iterator[tuple[Place, dict[str, str]]]:
    """A real service that exports, and loopback servers that answer for what came; with the settings that name them."""
    with ExitStack() as stack:
        sink, otlp = stack.enter_context(otlp_sink())
        exports = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": otlp,
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
            "OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={INSTANCE}",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        made = stack.enter_context(a_place(bundle, folder, **exports))
        traces: dict[str, Reply] = {"/": (200, "<html>"), "/api/v3/traces/*": lambda path: as_jaeger(sink, path)}
        jaeger = stack.enter_context(backend(traces))
        prometheus = stack.enter_context(
            backend(
                {
                    "/api/v1/status/buildinfo": (200, {"data": {"version": "3.16.0"}}),
                    "/api/v1/query": lambda path: as_prometheus(sink, path),
                }
            )
        )
        others = stack.enter_context(
            backend({"/": (200, {"status": "Server available"}), "/api/health": (200, {"version": "13.1.0"})})
        )
        yield (
            made,
            {
                "LEEWAY_JAEGER_URL": jaeger.url,
                "LEEWAY_PROMETHEUS_URL": prometheus.url,
                "LEEWAY_COLLECTOR_URL": others.url,
                "LEEWAY_GRAFANA_URL": others.url,
            },
        )


def test_every_signal_is_followed_to_its_backend(bundle: Bundle, tmp_path: Path) -> None:
    """With a Collector, Jaeger and Prometheus each of the prediction's signals is found there."""
    with a_stack(bundle, tmp_path / "stack") as (place, named):
        ran = place.doctor("--json", **named)
    found = {each["check"]: each for each in json.loads(ran.stdout)["checks"]}
    assert {each["state"] for check, each in found.items() if not check.startswith("drift")} == {"ok"}
    assert ran.returncode == 0
    assert "came to Jaeger" in found["trace"]["found"]
    assert f"instance {INSTANCE}, in Prometheus rose by 1" in found["metric"]["found"]
    assert (found["collector"]["version"], found["grafana"]["version"]) == ("0.161.0", "13.1.0")


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
