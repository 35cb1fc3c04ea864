"""The published ports of the stack under test: the defaults, or free ones where they are taken."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import yaml

USUAL: Final = {
    "service": 8000,
    "drift": 8001,
    "prometheus": 9090,
    "jaeger": 16686,
    "grafana": 3000,
    "alertmanager": 9093,
    "prefect-server": 4200,
}


class _Override(list[str]):
    """A list that replaces that of compose.yaml; otherwise Compose would publish both."""


def _tagged(dumper: yaml.SafeDumper, ports: _Override) -> yaml.Node:
    return dumper.represent_sequence("!override", ports)


yaml.SafeDumper.add_representer(_Override, _tagged)


def free_port(usual: int) -> int:
    """`usual` if it is free on 127.0.0.1, else a free port."""
    for port in (usual, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError(f"neither port {usual} nor any other is free on 127.0.0.1")


PORTS: Final = {service: free_port(usual) for service, usual in USUAL.items()}


def published_at(ports: Mapping[str, int], path: Path) -> Path:
    """Write a Compose override to `path` that publishes each service at its port in `ports`; return `path`."""
    services: dict[str, dict[str, object]] = {
        service: {"ports": _Override([f"127.0.0.1:{port}:{USUAL[service]}"])} for service, port in ports.items()
    }
    links: dict[str, object] = {"environment": {"LEEWAY_REPORTS_URL": f"http://127.0.0.1:{ports['drift']}"}}
    services |= {"drift": services["drift"] | links, "prefect": links}
    path.write_text(yaml.safe_dump({"services": services}), encoding="utf-8")
    return path
