"""Starts the stack once, sends requests continuously, and removes everything including volumes."""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final

import pytest
import yaml

from benchmarks.live.load import Load, steady_load
from benchmarks.live.ports import PORTS, published_at
from benchmarks.live.stack import ROOT, Stack, docker_is_here, eventually
from tests.config.promtool import with_webhook

SINK = "webhook"
LOG_LINES = 30
"""Log lines of each container to add to a failed test's report, since the containers are removed at the end."""
_SINK_SOURCE = """
import http.server, sys
class Sink(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        self.send_response(200); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("0.0.0.0", 9095), Sink).serve_forever()
"""
SINK_SERVICE: Final = {"image": "leeway-drift", "init": True, "command": ["python", "-c", _SINK_SOURCE]}
"""A container that prints what is posted to it."""
_REPORT: list[str] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests with a reason if Docker is not available."""
    here = [item for item in items if item.nodeid.startswith("tests/stack/")]
    if here and any(item.get_closest_marker("stack") for item in here) and not docker_is_here():
        for item in here:
            item.add_marker(pytest.mark.skip(reason="docker with compose is not here"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the end of the containers' logs to the report of a failed test."""
    outcome = yield
    stack: object = getattr(item, "funcargs", {}).get("stack")
    if outcome.failed and isinstance(stack, Stack):
        outcome.sections.append(("what the containers printed last", stack.compose("logs", "--tail", str(LOG_LINES))))
    return outcome


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the measurements after the tests."""
    for line in _REPORT:
        terminalreporter.write_line(line)


@pytest.fixture(autouse=True, scope="module")
def module_leaves_nothing_open() -> None:
    """Not here: the load runs, and opens connections, until the end of the session."""


@pytest.fixture(scope="session")
def report() -> list[str]:
    """Lines that are printed after the tests."""
    return _REPORT


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory, report: list[str]) -> Iterator[Stack]:
    """The running stack; LEEWAY_TEST_STACK_WITHOUT names services whose images are missing, such as grafana."""
    without = frozenset(os.environ.get("LEEWAY_TEST_STACK_WITHOUT", "").split())
    folder = tmp_path_factory.mktemp("compose")
    stack = Stack("leeway-test", without, overrides=[_with_a_sink(folder), published_at(PORTS, folder / "ports.yaml")])
    stack.down()
    try:
        stack.up()
        report.append(f"ready {stack.ready_after_s:.0f} s after `docker compose up`, images built")
        report.append("images: " + ", ".join(f"{name} {size:.0f} MB" for name, size in stack.image_megabytes().items()))
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="session")
def load(stack: Stack) -> Iterator[Load]:
    """Requests at a constant rate until the end of the session, after the first half minute."""
    assert stack.ready_after_s
    began_s = time.monotonic()
    with steady_load() as load:
        eventually(lambda: time.monotonic() - began_s > 30, 60)
        yield load


def _with_a_sink(folder: Path) -> Path:
    """An override with a container that prints what Alertmanager and the drift worker post to it."""
    shipped = (ROOT / "observability/alertmanager/alertmanager.yaml").read_text(encoding="utf-8")
    with_sink = with_webhook(shipped, f"http://{SINK}:9095/")
    (folder / "alertmanager.yaml").write_text(with_sink, encoding="utf-8")
    services = {
        SINK: SINK_SERVICE,
        "alertmanager": {"volumes": [f"{folder}:/etc/alertmanager:ro"]},
        "drift": {"environment": {"LEEWAY_WEBHOOK_URL": f"http://{SINK}:9095/"}},
    }
    for each in folder, folder / "alertmanager.yaml":
        each.chmod(0o755)  # read there by another user
    override = folder / "override.yaml"
    override.write_text(yaml.safe_dump({"services": services}), encoding="utf-8")
    return override
