"""How the tests run: in which order and process, and what lasts as long as they do."""

from __future__ import annotations

import gc
import signal
from typing import Any, Final

import pytest

from tests import preloaded

pytest_plugins = ["tests.leaks"]
pytest.register_assert_rewrite("tests.fixtures")  # a conftest.py below may import it before it is loaded as a plugin


def pytest_configure(config: pytest.Config) -> None:
    """Load the fixtures in the processes that run tests; the one that distributes them saves their imports."""
    is_worker = hasattr(config, "workerinput")
    if is_worker or not config.getoption("numprocesses", None):
        config.pluginmanager.import_plugin("tests.fixtures")


def pytest_sessionstart() -> None:
    """Take Ctrl-C where a shell that put the tests in the background has had it ignored: some tests send it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


EVIDENTLY: Final = (
    "tests/cli/commands/test_drift.py",
    "tests/drift/aggregates/test_window.py",
    "tests/drift/comparison/test_evidently.py",
    "tests/drift/comparison/test_null.py",
    "tests/drift/telemetry/test_otel.py",
    "tests/drift/test_any_window.py",
    "tests/drift/test_examples.py",
    "tests/drift/test_loop_closed.py",
    "tests/leeway/model/test_distances.py",
)
"""Modules that import Evidently, which takes five seconds of processor time."""
CHROMIUM: Final = "tests/browser/"
TUTORIALS: Final = "tests/docs/test_tutorial.py"
FIRST: Final = (TUTORIALS, *EVIDENTLY, CHROMIUM)
"""What takes longest."""
WAITING: Final = ("tests/service/process/", "tests/cli/commands/", "tests/benchmarks/")
"""Modules that mostly wait for other processes."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with what takes or waits long, so that no process is left with it when the others have finished."""
    items.sort(key=lambda item: (not item.nodeid.startswith(FIRST), not item.nodeid.startswith(WAITING)))


def group_of(nodeid: str) -> str:
    """What runs in one process: a module or a tutorial, or all modules that share an expensive import or a browser."""
    if nodeid.startswith(EVIDENTLY):
        return "Evidently"
    if nodeid.startswith(CHROMIUM):
        return CHROMIUM
    module, _, test = nodeid.partition("::")
    parameters = test.partition("[")[2].rstrip("]")
    return f"{module} {parameters.partition(' ')[0]}" if module == TUTORIALS else module


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:  # noqa: ANN401 (of a plugin without types)
    """Distribute the groups."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]  # noqa: PLC0415 (only where it is used)

    class LoadGroups(LoadFileScheduling):  # type: ignore[misc]
        """Hands out groups instead of files."""

        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return LoadGroups(config, log)


def pytest_sessionfinish() -> None:
    """End the process from which tests forked commands."""
    preloaded.stop_server()


def pytest_collection_finish() -> None:
    """Exempt what lasts as long as the tests from garbage collection, which took a sixth of their time."""
    gc.collect()
    gc.freeze()
