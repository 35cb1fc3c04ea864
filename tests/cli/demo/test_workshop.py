from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path

import httpx2
import pytest

from cli.demo.processes import running
from cli.demo.workshop import HOST, Pace, Workshop, WorkshopError, port_or_free
from leeway.model.bundle import Bundle
from leeway.settings import DriftSettings, ServiceSettings

PACE = Pace(2.0, 6.0, 800)


def is_answering(url: str) -> bool:
    """Whether somebody listens there."""
    try:
        httpx2.get(f"{url}/health/live", trust_env=False)
    except httpx2.TransportError:
        return False
    return True


@pytest.fixture
def shop(tmp_path: Path) -> Workshop:
    """A demo's folder."""
    return Workshop(tmp_path / "demo")


def test_begins_anew(shop: Workshop) -> None:
    """What the run before left is removed: page, data, spans, reports and model; a stranger's file stays."""
    with shop.opened():
        for path in (shop.page, shop.database, shop.spool, shop.spans, shop.log("service"), shop.log("drift")):
            path.write_text("old")
        for name in ("leeway.db-wal", "spool.db.lock", "notes.txt"):
            (shop.folder / name).write_text("old")
        for folder in (shop.bundle, shop.reports / "runs" / "x"):
            folder.mkdir(parents=True)
    with shop.opened():
        assert sorted(path.name for path in shop.folder.iterdir()) == [".leeway-demo", "notes.txt", "reports"]
        assert list(shop.reports.iterdir()) == []


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    """An empty folder becomes the demo's."""
    with Workshop(tmp_path).opened():
        assert [path.name for path in tmp_path.iterdir()] == [".leeway-demo"]


def test_a_folder_of_other_things_is_spared(tmp_path: Path) -> None:
    """A folder that no demo made and that is not empty is refused, and stays as it is."""
    (tmp_path / "leeway.db").write_text("mine")
    with pytest.raises(WorkshopError, match="no demo made it"), Workshop(tmp_path).opened():
        pass
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"leeway.db": "mine"}


def test_a_file_in_the_folders_place_is_said(tmp_path: Path) -> None:
    """A file where the folder should be is refused in plain words, and stays."""
    (tmp_path / "demo").write_text("dear")
    with pytest.raises(WorkshopError, match="cannot be the demo's folder"), Workshop(tmp_path / "demo").opened():
        pass
    assert (tmp_path / "demo").read_text() == "dear"


def test_two_demos_do_not_share_a_folder(shop: Workshop) -> None:
    """While one demo works in a folder another one is turned away; afterwards it is welcome."""
    with shop.opened(), pytest.raises(WorkshopError, match="another demo works"), shop.opened():
        pass
    with shop.opened():
        assert shop.marker.exists()


def test_what_goes_wrong_inside_is_left_alone(shop: Workshop) -> None:
    """An error of the work itself is not taken for one of the folder."""
    with pytest.raises(ConnectionError), shop.opened():
        raise ConnectionError
    assert shop.marker.exists()


def test_processes_know_this_folder_alone(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both processes' settings are the demo's own: no setting of the user's, and no Collector, finds its way in."""
    monkeypatch.setenv("LEEWAY_RECORDING", "required")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://example.invalid")
    environment = shop.environment(1234, 1235, PACE)
    assert not any(name.startswith("OTEL_") for name in environment)
    for name in [name for name in environment if name.startswith("LEEWAY_")]:
        monkeypatch.setenv(name, environment[name])
    monkeypatch.delenv("LEEWAY_RECORDING")
    service, drift = ServiceSettings.read(), DriftSettings.read()
    assert (service.port, service.faults, service.recording, service.bundle) == (
        1234,
        True,
        "available",
        shop.bundle,
    )
    assert (drift.reports_port, drift.drift_window, drift.drift_labels, drift.reports) == (
        1235,
        6,
        800,
        shop.reports,
    )


def test_a_port_that_is_taken_is_left_alone() -> None:
    """Where somebody listens another port is taken, and where nobody does the wanted one."""
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        other = port_or_free(port)
        assert other != port
    assert port_or_free(other) == other


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_whatever_happens_the_service_is_stopped(shop: Workshop, bundle: Bundle, error: type[BaseException]) -> None:
    """Ctrl-C, or an error while it serves, leaves no process behind."""
    seen: list[str] = []

    def interrupted() -> None:
        with shop.opened():
            shutil.copytree(bundle.folder, shop.bundle)
            environment = shop.environment(0, 0, PACE)
            with running("service", shop.log("service"), environment, ready="/health/ready") as service:
                seen.append(service.url())
                assert is_answering(seen[0])
                raise error

    with pytest.raises(error):
        interrupted()
    assert not is_answering(seen[0])


def test_a_service_that_does_not_start_is_said(shop: Workshop) -> None:
    """A service that cannot start is an error that holds what it printed last, and where the rest is."""
    with shop.opened():
        began_s = time.monotonic()
        environment = shop.environment(0, 0, PACE)
        with (
            running("service", shop.log("service"), environment, ready="/health/ready") as service,
            pytest.raises(WorkshopError, match=r"did not start.*service\.log[\s\S]*manifest\.json does not exist"),
        ):
            service.url()
        assert time.monotonic() - began_s < 30
