from __future__ import annotations

import re
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.live.ports import USUAL, free_port, published_at

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
EVERY = pytest.mark.parametrize("name", SERVICES)


def test_services() -> None:
    """compose.yaml has set-up, our processes, the database, the observability stack, and the monthly flow."""
    assert SERVICES.keys() == {
        "postgres", "setup", "service", "drift", "otel-collector", "prometheus", "jaeger", "grafana",
        "alertmanager", "traffic", "prefect-server", "prefect",
    }  # fmt: skip


@EVERY
def test_a_container_is_hardened(name: str) -> None:
    """Containers have a read-only root, no capabilities or new privileges, and limited processes, memory and logs."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"] <= 256
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


@EVERY
def test_ports_are_local(name: str) -> None:
    """All ports are on 127.0.0.1, and OTLP is not published."""
    for port in SERVICES[name].get("ports", []):
        assert port.startswith("127.0.0.1:")
        assert port.rpartition(":")[2] not in {"4317", "4318"}


@EVERY
def test_the_docker_socket_is_not_mounted(name: str) -> None:
    """No container mounts the Docker socket."""
    assert not [volume for volume in SERVICES[name].get("volumes", []) if "docker.sock" in volume]


@EVERY
def test_images_are_pinned(name: str) -> None:
    """Public images have a version tag, in compose.yaml or in a Dockerfile."""
    service = SERVICES[name]
    images = [service["image"]]
    if service["image"].startswith("leeway-"):
        images = [match for path in ROOT.glob("**/Dockerfile") for match in _bases(path)]
    assert images
    assert all(re.search(r":v?\d+(\.\d+)*(-slim)?$", image) for image in images), images


def _bases(dockerfile: Path) -> list[str]:
    return re.findall(r"^FROM (\S+)", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", ["service", "drift"])
def test_images_compile_existing_modules(name: str) -> None:
    """Our modules that a Dockerfile compiles exist."""
    (imported,) = re.findall(r"python -c 'import ([^']+)'", (ROOT / name / "Dockerfile").read_text(encoding="utf-8"))
    ours = [each for each in imported.split(", ") if each.startswith(("cli.", "service.", "drift.", "leeway."))]
    assert ours
    assert [module for module in ours if find_spec(module) is None] == []


def _part(name: str, start: str, end: str) -> str:
    """The lines of an image's Dockerfile from `start` to the next line that begins with `end`."""
    after = (ROOT / name / "Dockerfile").read_text(encoding="utf-8").partition(f"\n{start}\n")[2]
    return after.partition(f"\n{end}")[0]


def test_the_flows_image_shares_layers_with_the_workers() -> None:
    """Both Dockerfiles make the `leeway` command by the same lines, which Docker then builds and stores once."""
    stages = [("WORKDIR /src", "\nFROM"), ("FROM python:3.13-slim", "COPY --from=build /opt/leeway /opt/leeway")]
    for start, end in stages:
        assert len(_part("drift", start, end)) > 100
        assert _part("drift", start, end) == _part("drift/flows", start, end)


def test_prefect_makes_no_calls_out() -> None:
    """Its analytics are off in both containers, and pages of other sites cannot call its API."""
    for name in ("prefect-server", "prefect"):
        off = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
        assert off.items() <= SERVICES[name]["environment"].items()
    server = SERVICES["prefect-server"]["environment"]
    assert server["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4200"
    assert server["PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED"] == "true"


CALLS_OUT = {
    "GF_ANALYTICS_REPORTING_ENABLED": "false",
    "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
    "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
    "GF_PLUGINS_PREINSTALL_DISABLED": "true",
    "GF_PLUGINS_PREINSTALL_AUTO_UPDATE": "false",
    "GF_PLUGINS_PLUGIN_ADMIN_ENABLED": "false",
    "GF_PLUGINS_PUBLIC_KEY_RETRIEVAL_DISABLED": "true",
    "GF_NEWS_NEWS_FEED_ENABLED": "false",
    "GF_SECURITY_DISABLE_GRAVATAR": "true",
    "GF_SNAPSHOTS_EXTERNAL_ENABLED": "false",
}


def test_grafana_makes_no_calls_out() -> None:
    """Everything for which Grafana would call the internet is off."""
    assert CALLS_OUT.items() <= SERVICES["grafana"]["environment"].items()


def test_grafanas_own_folders_are_not_hidden() -> None:
    """Mounts do not hide the folders that Grafana reads at start; an absent one would be an error in its log."""
    grafana = SERVICES["grafana"]
    mounted = {volume.split(":")[1] for volume in grafana["volumes"]}
    assert {"/etc/grafana/provisioning/datasources", "/etc/grafana/provisioning/dashboards"} <= mounted
    assert not mounted & {"/etc/grafana", "/etc/grafana/provisioning"}
    assert "/var/lib/grafana/plugins" in {each.split(":")[0] for each in grafana["tmpfs"]}


def test_the_dashboards_of_the_providers_are_mounted() -> None:
    """Each folder from which Grafana loads dashboards is mounted, and its home dashboard is in one of them."""
    provisioning = ROOT / "observability/grafana/provisioning/dashboards/leeway.yaml"
    providers = yaml.safe_load(provisioning.read_text(encoding="utf-8"))["providers"]
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in SERVICES["grafana"]["volumes"]}
    assert {each["options"]["path"] for each in providers} <= mounted.keys()
    folder, _, name = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"].rpartition("/")
    assert (ROOT / mounted[folder] / name).is_file()


def test_mounted_folders_exist() -> None:
    """Mounted folders exist; Docker would create missing ones, empty and owned by root."""
    mounted = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume[0] == "."
    }
    assert mounted
    assert [each for each in mounted if not (ROOT / each).is_dir()] == []


def test_volumes_are_used() -> None:
    """Each declared volume is used."""
    used = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert COMPOSE["volumes"].keys() == {each for each in used if each[0] not in "./$"}


@pytest.mark.parametrize("name", ["service", "drift"])
def test_our_processes_keep_their_instance_id(name: str) -> None:
    """Each process has a fixed instance id, so that its series continue after a restart."""
    assert SERVICES[name]["environment"]["OTEL_RESOURCE_ATTRIBUTES"] == f"service.instance.id={name}"


def test_the_doctor_knows_all_addresses() -> None:
    """`docker compose exec service leeway doctor` has the address of each component inside the network."""
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


def test_the_doctor_knows_the_drift_interval() -> None:
    """The service and the worker have the same drift interval."""
    every = {SERVICES[name]["environment"]["LEEWAY_DRIFT_INTERVAL"] for name in ("service", "drift")}
    assert every == {"${LEEWAY_DRIFT_INTERVAL:-30}"}


def test_the_export_interval_is_the_scrape_interval() -> None:
    """Metrics are exported as often as Prometheus scrapes them."""
    prometheus = yaml.safe_load((ROOT / "observability/prometheus/prometheus.yaml").read_text(encoding="utf-8"))
    every_ms = SERVICES["service"]["environment"]["OTEL_METRIC_EXPORT_INTERVAL"]
    assert prometheus["global"]["scrape_interval"] == f"{int(every_ms) // 1_000}s"


def test_the_drift_window_is_the_rules_window() -> None:
    """The worker's window is five minutes, as in the rules of prediction drift."""
    assert SERVICES["drift"]["environment"]["LEEWAY_DRIFT_WINDOW"] == "${LEEWAY_DRIFT_WINDOW:-300}"


def test_the_stacks_tests_know_all_ports() -> None:
    """The live stack's tests can move each published port."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == USUAL.keys()
    for name, (port,) in published.items():
        assert port.endswith(f":{USUAL[name]}")


def test_a_taken_port_is_replaced() -> None:
    """If a port is taken, the live stack's tests use a free one."""
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        taken = somebody.getsockname()[1]
        given = free_port(taken)
        assert given != taken
        socket.create_server(("127.0.0.1", given)).close()


def test_a_free_port_is_kept() -> None:
    """If the default port is free, the live stack's tests use it."""
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        once_taken = somebody.getsockname()[1]
    assert free_port(once_taken) == once_taken


def test_the_override_moves_ports_and_links(tmp_path: Path) -> None:
    """The override publishes only the new port, and the links of the drift worker and the flow use it."""
    written = published_at(USUAL | {"drift": 18001}, tmp_path / "ports.yaml").read_text(encoding="utf-8")
    services = yaml.safe_load(written.replace("!override", ""))["services"]
    drift = services["drift"]
    assert written.count("!override") == len(USUAL)
    assert drift["ports"] == ["127.0.0.1:18001:8001"]
    assert drift["environment"] == {"LEEWAY_REPORTS_URL": "http://127.0.0.1:18001"}
    assert services["prefect"]["environment"] == drift["environment"]
