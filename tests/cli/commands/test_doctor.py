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

from cli.doctor.run import run_checks
from leeway.model.bundle import Bundle
from leeway.settings import DoctorSettings
from leeway.telemetry import names
from tests import preloaded
from tests.cli.doctor.replies import a_service, trace, vector
from tests.cli.stub_server import JsonReply, json_server
from tests.service.processes import ROOT, Server, Sink, closed_port, environment, otlp_sink, running

DOCTOR = ("-m", "cli.main", "doctor")


@dataclass(frozen=True)
class Installation:
    """A running service, and the environment for the doctor."""

    server: Server
    env: dict[str, str]
    folder: Path

    def doctor(self, *flags: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run `leeway doctor` in a pipe."""
        env = self.env | {"LEEWAY_URL": self.server.url} | changes
        return preloaded.run([*DOCTOR, *flags], cwd=ROOT, env=env, timeout=60)

    def states(self, *flags: str, **changes: str) -> dict[str, str]:
        """The state of each check."""
        found = json.loads(self.doctor("--json", *flags, **changes).stdout)
        return {each["check"]: each["state"] for each in found["checks"]}

    def synthetic_stored(self) -> int:
        """The number of synthetic predictions in the database."""
        with closing(sqlite3.connect(self.folder / "leeway.db")) as connection:
            return int(connection.execute("SELECT count(*) FROM predictions WHERE is_synthetic").fetchone()[0])


@contextmanager
def installed(bundle: Bundle, folder: Path, **changes: str) -> Iterator[Installation]:
    """Run a service with all its files in `folder`."""
    env = environment(bundle, folder, LEEWAY_REPORTS=str(folder / "reports"), **changes)
    with running(folder, env) as server:
        assert server.url
        yield Installation(server, env, folder)


HEAVY = ["pandas", "numpy", "sklearn", "onnxruntime", "fastapi", "evidently", "opentelemetry", "pyarrow"]
ARRIVALS = {"prediction", "row", "trace", "metric"}


@pytest.fixture(scope="module")
def installation(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A service without a stack, with /metrics and a spans file."""
    folder = tmp_path_factory.mktemp("embedded")
    with installed(bundle, folder, LEEWAY_SPANS_FILE=str(folder / "spans.jsonl")) as made:
        yield made


# --- a service only ----------------------------------------------------------------------------------------------


def test_a_service_without_a_stack_is_ok(installation: Installation) -> None:
    """Row, trace and count of one prediction arrive; the rest is skipped; the exit code is 0."""
    ran = installation.doctor()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    # A drift worker may be running on this machine.
    lines = [line for line in ran.stdout.splitlines() if line.split()[1:2] != ["drift"]]
    assert {line.split()[1] for line in lines if line.startswith("ok ")} == {
        "service", "database", *ARRIVALS, "clocks", "disk", "ports", "variables"
    }  # fmt: skip
    assert {line.split()[0] for line in lines[:-1]} == {"ok", "skipped"}
    assert " checks passed" in lines[-1]


def test_one_synthetic_prediction_is_made(installation: Installation) -> None:
    """Exactly one is made, and the document has its ids."""
    before = installation.synthetic_stored()
    found = json.loads(installation.doctor("--json").stdout)
    assert installation.synthetic_stored() == before + 1
    with closing(sqlite3.connect(installation.folder / "leeway.db")) as connection:
        query = "SELECT trace_id, is_synthetic FROM predictions WHERE prediction_id = ?"
        row = connection.execute(query, (found["prediction"]["prediction_id"],)).fetchone()
    assert row == (found["prediction"]["trace_id"], 1)


def test_versions_are_shown(installation: Installation) -> None:
    """The service's version comes from its metrics and trace, the database's from the database."""
    found = json.loads(installation.doctor("--json").stdout)
    versions = {each["check"]: each["version"] for each in found["checks"] if each["version"]}
    assert versions.keys() == {"service", "database", "trace"}
    assert versions["service"] == versions["trace"] == found["version"]


def test_an_unreachable_backend_fails(installation: Installation) -> None:
    """The exit code is 1, each failure ends with the next step, and the other checks still run."""
    nowhere = f"http://127.0.0.1:{closed_port()}"
    ran = installation.doctor("--jaeger-url", nowhere, "--prometheus-url", nowhere, "--timeout", "1")
    assert ran.returncode == 1
    failed = [line for line in ran.stdout.splitlines() if line.startswith("failed")]
    assert {line.split()[1] for line in failed} == {"prometheus", "jaeger", "trace", "metric", "scrapes", "ports"}
    assert [line for line in failed if ". Next: " not in line] == []
    assert "ok       row" in ran.stdout


def test_without_a_service_the_rest_is_checked(installation: Installation) -> None:
    """Without a service no prediction is requested; the other checks still run."""
    before = installation.synthetic_stored()
    states = installation.states("--url", f"http://127.0.0.1:{closed_port()}")
    assert {states[check] for check in ARRIVALS} == {"skipped"}
    assert (states["service"], states["ports"], states["database"]) == ("failed", "failed", "ok")
    assert installation.synthetic_stored() == before


def test_without_a_database_the_row_is_skipped(installation: Installation, tmp_path: Path) -> None:
    """The missing database fails once; the other signals arrive."""
    states = installation.states("--database-url", f"sqlite:///{tmp_path / 'none.db'}")
    assert (states["database"], states["row"], states["drift run"]) == ("failed", "skipped", "skipped")
    assert (states["prediction"], states["trace"], states["metric"]) == ("ok", "ok", "ok")


def test_a_worker_with_an_address_must_answer(installation: Installation) -> None:
    """With LEEWAY_REPORTS_URL the worker must answer."""
    with json_server({"/": (200, "<html>")}) as page:
        states = installation.states("--reports-url", page.url)
    assert (states["drift worker"], states["drift run"]) == ("ok", "warning")
    states = installation.states("--reports-url", f"http://127.0.0.1:{closed_port()}")
    assert (states["drift worker"], states["ports"]) == ("failed", "failed")


def test_an_invalid_setting_is_an_error(installation: Installation) -> None:
    """An invalid setting ends with exit code 2 before any check."""
    ran = installation.doctor(LEEWAY_DRIFT_INTERVAL="often")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.startswith("leeway: LEEWAY_DRIFT_INTERVAL='often'")


# --- in this process ---------------------------------------------------------------------------------------------


def test_a_broken_check_does_not_stop_the_others() -> None:
    """An unexpected answer fails that check; the others still run."""
    odd = {"result": {"resourceSpans": [{"resource": {"attributes": [{"key": "x", "value": "text"}]}}]}}
    with json_server(a_service() | {"/": (200, ""), f"/api/v3/traces/{'a' * 32}": (200, odd)}) as server:
        settings = DoctorSettings.read(url=server.url, jaeger_url=server.url, database_url="sqlite:///none/such.db")
        found = {each.check: each for each in run_checks(settings, 1).all}
    assert found["trace"].state == "failed"
    assert "the check itself failed (AttributeError" in found["trace"].found
    assert (found["service"].state, found["prediction"].state) == ("ok", "ok")


def test_checks_wait_at_the_same_time() -> None:
    """Missing signals cost the wait once, not once each."""
    with json_server(a_service() | {"/": (200, ""), "/api/v1/query": (200, vector(({}, 1)))}) as server:
        settings = DoctorSettings.read(
            url=server.url, jaeger_url=server.url, prometheus_url=server.url, database_url="sqlite:///none/such.db"
        )
        results = run_checks(settings, 1)
    states = {each.check: each.state for each in results.all}
    assert (states["trace"], states["metric"]) == ("failed", "failed")
    assert 1 <= results.took_s < 2


def test_it_runs_in_the_services_image() -> None:
    """It imports nothing of the drift image, and nothing slow."""
    code = f"import sys, cli.doctor.run, cli.doctor.report; print('imported:', sorted(set({HEAVY}) & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert ran.stdout.strip() == "imported: []"


INSTANCE = "the-only-one"


def as_jaeger(sink: Sink, path: str) -> tuple[int, object]:
    """Jaeger's answer for the spans of `sink`."""
    spans = [span for span in sink.spans() if span.trace_id.hex() == path.rpartition("/")[2]]
    return (200, trace(len(spans), namespace="leeway", instance_id=INSTANCE)) if spans else (404, {})


def as_prometheus(sink: Sink, path: str) -> tuple[int, object]:
    """Prometheus' answer for the newest metrics of `sink`."""
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
def a_stack(bundle: Bundle, folder: Path) -> Iterator[tuple[Installation, dict[str, str]]]:
    """A real service that exports, loopback servers as backends, and the settings with their addresses."""
    with ExitStack() as stack:
        sink, otlp = stack.enter_context(otlp_sink())
        exports = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": otlp,
            "OTEL_METRIC_EXPORT_INTERVAL": "300",
            "OTEL_RESOURCE_ATTRIBUTES": f"service.instance.id={INSTANCE}",
            "OTEL_BSP_SCHEDULE_DELAY": "200",
        }
        made = stack.enter_context(installed(bundle, folder, **exports))
        traces: dict[str, JsonReply] = {"/": (200, "<html>"), "/api/v3/traces/*": lambda path: as_jaeger(sink, path)}
        jaeger = stack.enter_context(json_server(traces))
        prometheus = stack.enter_context(
            json_server(
                {
                    "/api/v1/status/buildinfo": (200, {"data": {"version": "3.16.0"}}),
                    "/api/v1/query": lambda path: as_prometheus(sink, path),
                }
            )
        )
        others = stack.enter_context(
            json_server({"/": (200, {"status": "Server available"}), "/api/health": (200, {"version": "13.1.0"})})
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
    """With a Collector, Jaeger and Prometheus, each of the prediction's signals is found there."""
    with a_stack(bundle, tmp_path / "stack") as (installation, named):
        ran = installation.doctor("--json", **named)
    found = {each["check"]: each for each in json.loads(ran.stdout)["checks"]}
    assert {each["state"] for check, each in found.items() if not check.startswith("drift")} == {"ok"}
    assert ran.returncode == 0
    assert "arrived in Jaeger" in found["trace"]["found"]
    assert f"instance {INSTANCE}, in Prometheus rose by 1" in found["metric"]["found"]
    assert (found["collector"]["version"], found["grafana"]["version"]) == ("0.161.0", "13.1.0")
