"""What compose.yaml promises, read from the file itself: no engine is needed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EVERY = pytest.mark.parametrize("name", SERVICES)


def test_the_services_are_those_of_the_design() -> None:
    """One-shot, two processes of ours, a database, and the four that show."""
    assert SERVICES.keys() == {
        "postgres", "setup", "service", "drift", "otel-collector", "prometheus", "jaeger", "grafana",
        "alertmanager", "traffic",
    }  # fmt: skip


@EVERY
def test_a_container_is_hardened(name: str) -> None:
    """Read-only root, no capabilities, no new privileges, bounded processes, memory and logs."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] <= 256
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@EVERY
def test_what_is_published_is_on_this_machine_only(name: str) -> None:
    """Every port is on 127.0.0.1, and none of them takes OTLP."""
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")
        assert port.rpartition(":")[2] not in {"4317", "4318"}


@EVERY
def test_nothing_needs_the_engines_socket(name: str) -> None:
    """No container can reach the engine that runs it."""
    assert not [volume for volume in SERVICES[name].get("volumes", []) if "docker.sock" in volume]


@EVERY
def test_a_public_image_is_pinned(name: str) -> None:
    """A tag with a version, in compose.yaml or in the Dockerfile that stands on it."""
    service = SERVICES[name]
    images = [service["image"]]
    if service["image"].startswith("leeway-"):
        images = [match for path in ROOT.glob("**/Dockerfile") for match in _bases(path)]
    assert images
    assert all(re.search(r":v?\d+(\.\d+)*(-slim)?$", image) for image in images), images


def _bases(dockerfile: Path) -> list[str]:
    return re.findall(r"^FROM (\S+)", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)


def test_a_folder_that_is_mounted_is_there() -> None:
    """A missing folder would be made by the engine, as root, and empty."""
    mounted = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume[0] == "."
    }
    assert mounted
    assert [each for each in mounted if not (ROOT / each).is_dir()] == []


def test_every_named_volume_is_used() -> None:
    """No volume is declared for nobody."""
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert COMPOSE["volumes"].keys() == {each for each in used if each[0] not in "./$"}


@pytest.mark.parametrize("name", ["service", "drift"])
def test_a_process_of_ours_keeps_its_instance(name: str) -> None:
    """After a restart its series go on, instead of standing twice."""
    assert SERVICES[name]["environment"]["OTEL_RESOURCE_ATTRIBUTES"] == f"service.instance.id={name}"


def test_the_doctor_in_the_service_knows_where_all_of_it_is() -> None:
    """`docker compose exec service leeway doctor` looks at each, by the name that it has in this network."""
    environment = SERVICES["service"]["environment"]
    named = {name: value for name, value in environment.items() if name.startswith("LEEWAY_") and "http://" in value}
    hosts = {name: re.findall(r"http://([a-z-]+):\d+", value) for name, value in named.items()}
    assert hosts == {
        "LEEWAY_REPORTS_URL": ["drift"],
        "LEEWAY_COLLECTOR_URL": ["otel-collector"],
        "LEEWAY_PROMETHEUS_URL": ["prometheus"],
        "LEEWAY_JAEGER_URL": ["jaeger"],
        "LEEWAY_GRAFANA_URL": ["grafana"],
    }


def test_the_doctor_knows_how_often_the_worker_runs() -> None:
    """Both have the interval of the same variable."""
    every = {SERVICES[name]["environment"]["LEEWAY_DRIFT_INTERVAL"] for name in ("service", "drift")}
    assert every == {"${LEEWAY_DRIFT_INTERVAL:-30}"}


def test_export_and_scrape_keep_time() -> None:
    """Metrics are exported as often as Prometheus scrapes."""
    prometheus = yaml.safe_load((ROOT / "observability/prometheus/prometheus.yaml").read_text(encoding="utf-8"))
    every_ms = SERVICES["service"]["environment"]["OTEL_METRIC_EXPORT_INTERVAL"]
    assert prometheus["global"]["scrape_interval"] == f"{int(every_ms) // 1_000}s"


def test_the_rules_window_is_the_workers() -> None:
    """Prometheus computes prediction drift over five minutes, and so does the worker here."""
    assert SERVICES["drift"]["environment"]["LEEWAY_DRIFT_WINDOW"] == "${LEEWAY_DRIFT_WINDOW:-300}"


@pytest.mark.parametrize("choice", ["keep-all", "tail-sampling"])
def test_both_ways_of_sampling_measure_first(choice: str) -> None:
    """Span metrics are computed before anything is sampled, and memory is guarded before anything else."""
    config = yaml.safe_load((ROOT / "otel-collector/config.yaml").read_text(encoding="utf-8"))
    sampling = yaml.safe_load((ROOT / f"otel-collector/{choice}.yaml").read_text(encoding="utf-8"))
    pipelines = config["service"]["pipelines"]
    assert sampling["service"]["pipelines"].keys() == {"traces/store"}
    assert pipelines["traces"]["exporters"] == ["span_metrics", "forward/store"]
    assert all(pipelines[each]["processors"][0] == "memory_limiter" for each in ("traces", "metrics"))
