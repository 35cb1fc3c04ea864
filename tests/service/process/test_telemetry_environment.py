"""A service with the `OTEL_*` variables that an operator, or a typing error, may set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leeway.model.bundle import Bundle
from tests.leeway.telemetry.test_variables import INVALID
from tests.service.processes import QUICK_EXPORT, SUPERVISED, ended, environment, eventually, otlp_sink, running

TRACE_ID, PARENT_ID = "463ac35c9f6413ad48485a3953bb6124", "0020000000000001"
B3 = {"b3", "b3multi"}
"""Each of the two reads the headers of both."""
CONTEXTS = {
    "tracecontext": {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"},
    "b3": {"b3": f"{TRACE_ID}-{PARENT_ID}-1"},
    "b3multi": {"x-b3-traceid": TRACE_ID, "x-b3-spanid": PARENT_ID, "x-b3-sampled": "1"},
}


@pytest.mark.parametrize("propagators", ["none", "tracecontext,baggage,b3,b4", "b3multi"])
def test_each_propagator_of_the_environment_is_used(
    bundle: Bundle, tmp_path: Path, example: dict[str, Any], propagators: str
) -> None:
    """A request continues the trace of a listed propagator's header, and starts one for any other."""
    with otlp_sink() as (sink, url):
        env = environment(
            bundle, tmp_path, OTEL_PROPAGATORS=propagators, OTEL_EXPORTER_OTLP_ENDPOINT=url, **QUICK_EXPORT
        )
        with running(tmp_path, env) as server, server.client() as client:
            continued = {
                name
                for name, headers in CONTEXTS.items()
                if client.post("/predict", json=example, headers=headers).raise_for_status().json()["trace_id"]
                == TRACE_ID
            }
            assert eventually(lambda: len(sink.spans()) >= len(CONTEXTS))
    listed = set(propagators.split(","))
    assert continued == (listed & CONTEXTS.keys()) | (B3 if listed & B3 else set())


def test_service_and_traffic_ignore_invalid_variables(bundle: Bundle, tmp_path: Path) -> None:
    """Every variable that can be invalid is, at once: both work, and say each of them once, without a traceback."""
    invalid = {name: value for name, value, _ in INVALID}
    with otlp_sink() as (sink, url):
        env = environment(bundle, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=url, **invalid)
        with running(tmp_path, env, SUPERVISED) as server:
            send = ("-m", "cli.main", "traffic", "--duration", "1", "--rate", "10", "--mix", "0/1/0")
            traffic = ended(env | {"LEEWAY_URL": server.url, **QUICK_EXPORT}, send)
            said = [line["message"] for line in server.log() if line["level"] == "WARNING"]
        assert [span for span in sink.spans() if span.name.startswith("POST /predict")]
    assert sorted(line.partition("=")[0] for line in said) == sorted(invalid)
    assert sorted(line.partition("=")[0] for line in traffic.stderr.splitlines()) == sorted(
        invalid.keys() - QUICK_EXPORT
    )
    assert (traffic.returncode, server.err.read_text()) == (0, "")


@pytest.mark.parametrize("command", [("serve",), ("serve", "--workers", "2"), ("drift", "worker"), ("traffic",)])
def test_an_endpoint_without_scheme_ends_each_command(bundle: Bundle, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Exit code 2 and one line, because nothing could ever arrive."""
    env = environment(bundle, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="localhost:4318")
    done = ended(env, ("-m", "cli.main", *command))
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "OTEL_EXPORTER_OTLP_ENDPOINT='localhost:4318': give http:// or https://" in line


def test_the_drift_worker_ignores_invalid_variables(bundle: Bundle, tmp_path: Path) -> None:
    """It serves its page, and says each of them once, without a traceback."""
    invalid = {name: value for name, value, _ in INVALID}
    env = environment(bundle, tmp_path, LEEWAY_REPORTS=str(tmp_path / "reports"), LEEWAY_REPORTS_PORT="0", **invalid)
    with running(tmp_path, env, ("-m", "cli.main", "drift", "worker")) as worker:
        assert eventually(lambda: any("url" in entry for entry in worker.log()), wait_s=60), worker.err.read_text()
        code, _ = worker.stop()
    said = [line["message"] for line in worker.log() if line["message"].endswith("the invalid value is ignored")]
    assert sorted(line.partition("=")[0] for line in said) == sorted(invalid)
    assert (code, worker.err.read_text(), "Traceback" in json.dumps(worker.log())) == (0, "", False)
