"""The live stack's tests publish it where there is room: nothing else on the machine has to make way for them."""

from __future__ import annotations

import socket
from pathlib import Path

import yaml

from tests.config.test_compose import SERVICES
from tests.stack.ports import USUAL, free_port, published_at


def test_the_usual_ports_are_those_of_compose() -> None:
    """Each published service, and the port inside it, is one that the tests can move."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == USUAL.keys()
    for name, (port,) in published.items():
        assert port.endswith(f":{USUAL[name]}")


def test_a_port_that_is_taken_is_passed_over() -> None:
    """Where somebody listens, another port is given, and one can listen there."""
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        taken = somebody.getsockname()[1]
        given = free_port(taken)
        assert given != taken
        socket.create_server(("127.0.0.1", given)).close()


def test_a_port_that_is_free_stays() -> None:
    """The usual port is used wherever it can be."""
    with socket.create_server(("127.0.0.1", 0)) as somebody:
        once_taken = somebody.getsockname()[1]
    assert free_port(once_taken) == once_taken


def test_the_override_replaces_the_ports_and_the_reports_address(tmp_path: Path) -> None:
    """Compose publishes at the new port alone, and a drift run's link leads there."""
    written = published_at(USUAL | {"drift": 18001}, tmp_path / "ports.yaml").read_text(encoding="utf-8")
    drift = yaml.safe_load(written.replace("!override", ""))["services"]["drift"]
    assert written.count("!override") == len(USUAL)
    assert drift["ports"] == ["127.0.0.1:18001:8001"]
    assert drift["environment"] == {"LEEWAY_REPORTS_URL": "http://127.0.0.1:18001"}
