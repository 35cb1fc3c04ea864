from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path

import httpx2
import pytest

from cli.demo.processes import running
from cli.demo.workspace import HOST, DemoTiming, Workspace, WorkspaceError, port_or_free
from leeway.model.bundle import Bundle
from leeway.settings import DriftSettings, ServiceSettings

TIMING = DemoTiming(2.0, 6.0, 800)


def is_answering(url: str) -> bool:
    """Whether a service answers there."""
    try:
        httpx2.get(f"{url}/health/live", trust_env=False)
    except httpx2.TransportError:
        return False
    return True


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A demo's folder."""
    return Workspace(tmp_path / "demo")


def test_files_of_the_last_run_are_removed(workspace: Workspace) -> None:
    """Page, data, spans, reports and model of the last run are removed; other files stay."""
    with workspace.opened():
        for path in (
            workspace.page,
            workspace.database,
            workspace.spans,
            workspace.log("service"),
            workspace.log("drift"),
        ):
            path.write_text("old")
        for name in ("leeway.db-wal", "notes.txt"):
            (workspace.folder / name).write_text("old")
        for folder in (workspace.bundle, workspace.spool, workspace.reports / "runs" / "x"):
            folder.mkdir(parents=True)
    with workspace.opened():
        assert sorted(path.name for path in workspace.folder.iterdir()) == [".leeway-demo", "notes.txt", "reports"]
        assert list(workspace.reports.iterdir()) == []


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    """An empty folder becomes the demo's."""
    with Workspace(tmp_path).opened():
        assert [path.name for path in tmp_path.iterdir()] == [".leeway-demo"]


def test_a_folder_with_other_files_is_rejected(tmp_path: Path) -> None:
    """A non-empty folder that no demo created is rejected and unchanged."""
    (tmp_path / "leeway.db").write_text("mine")
    with pytest.raises(WorkspaceError, match="was not created by a demo"), Workspace(tmp_path).opened():
        pass
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"leeway.db": "mine"}


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    """A file in place of the folder is rejected with a plain message, and stays."""
    (tmp_path / "demo").write_text("dear")
    with pytest.raises(WorkspaceError, match="as the demo's folder"), Workspace(tmp_path / "demo").opened():
        pass
    assert (tmp_path / "demo").read_text() == "dear"


def test_two_demos_do_not_share_a_folder(workspace: Workspace) -> None:
    """While one demo runs in a folder another one is rejected; afterwards it may run."""
    with workspace.opened(), pytest.raises(WorkspaceError, match="another demo is running"), workspace.opened():
        pass
    with workspace.opened():
        assert workspace.marker.exists()


def test_other_errors_pass_through(workspace: Workspace) -> None:
    """An error inside the block is not reported as an error of the folder."""
    with pytest.raises(ConnectionError), workspace.opened():
        raise ConnectionError
    assert workspace.marker.exists()


def test_processes_use_this_folder_only(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both processes have the demo's settings: no user settings and no Collector."""
    monkeypatch.setenv("LEEWAY_RECORDING", "required")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://example.invalid")
    environment = workspace.environment(1234, 1235, TIMING)
    assert not any(name.startswith("OTEL_") for name in environment)
    for name in [name for name in environment if name.startswith("LEEWAY_")]:
        monkeypatch.setenv(name, environment[name])
    monkeypatch.delenv("LEEWAY_RECORDING")
    service, drift = ServiceSettings.read(), DriftSettings.read()
    assert (service.port, service.faults, service.recording, service.bundle) == (
        1234,
        True,
        "available",
        workspace.bundle,
    )
    assert (drift.reports_port, drift.drift_window, drift.drift_labels, drift.reports) == (
        1235,
        6,
        800,
        workspace.reports,
    )


def test_a_port_in_use_is_replaced() -> None:
    """A free port is used; a port in use is replaced by a free one."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        other = port_or_free(port)
        assert other != port
    assert port_or_free(other) == other


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_the_service_is_always_stopped(workspace: Workspace, bundle: Bundle, error: type[BaseException]) -> None:
    """Ctrl-C or an error during serving leaves no process behind."""
    seen: list[str] = []

    def interrupted() -> None:
        with workspace.opened():
            shutil.copytree(bundle.folder, workspace.bundle)
            environment = workspace.environment(0, 0, TIMING)
            with running("service", workspace.log("service"), environment) as service:
                seen.append(service.url())
                assert is_answering(seen[0])
                raise error

    with pytest.raises(error):
        interrupted()
    assert not is_answering(seen[0])


def test_a_failed_start_is_an_error(workspace: Workspace) -> None:
    """If the service cannot start, the error has the end of its log, and the log's path."""
    with workspace.opened():
        began_s = time.monotonic()
        environment = workspace.environment(0, 0, TIMING)
        with (
            running("service", workspace.log("service"), environment) as service,
            pytest.raises(WorkspaceError, match=r"did not start.*service\.log[\s\S]*manifest\.json does not exist"),
        ):
            service.url()
        assert time.monotonic() - began_s < 30
