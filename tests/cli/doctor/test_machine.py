from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cli.doctor.check import CheckResult
from cli.doctor.machine import MOST_SKEW_S, addresses, clocks, disk, ports, variables
from leeway.settings import DoctorSettings
from tests.service.processes import closed_port


def settings_here(folder: Path, **changes: object) -> DoctorSettings:
    """Settings with all files in `folder`."""
    places = {"spool": folder / "spool", "reports": folder / "reports"}
    return DoctorSettings.read(**{"database_url": f"sqlite:///{folder / 'leeway.db'}", **places, **changes})


# --- ports --------------------------------------------------------------------------------------------------------


def test_by_default_only_the_service_must_listen() -> None:
    """Optional processes need an address; a SQLite file has no port."""
    assert addresses(DoctorSettings.read()) == {"service": ("127.0.0.1", 8000)}


def test_each_named_process_must_listen() -> None:
    """Ports have the defaults of their scheme or database; other checks report invalid addresses."""
    settings = DoctorSettings.read(
        url="https://api.example.org/churn",
        reports_url="http://drift:8001",
        collector_url="nonsense",
        prometheus_url="http://prometheus:9090/",
        jaeger_url="http://[::1]:16686",
        database_url="postgresql+psycopg://u:p@postgres/d",
    )
    assert addresses(settings) == {
        "service": ("api.example.org", 443),
        "drift worker": ("drift", 8001),
        "prometheus": ("prometheus", 9090),
        "jaeger": ("::1", 16686),
        "database": ("postgres", 5432),
    }


def test_open_ports_are_listed() -> None:
    """The result has each address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
        result = ports({"service": address}, 5)
    assert (result.state, result.found) == ("ok", f"open: service 127.0.0.1:{address[1]}")


def test_a_closed_port_fails() -> None:
    """The result names the closed ones only."""
    closed = closed_port()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        result = ports({"service": listener.getsockname(), "jaeger": ("127.0.0.1", closed)}, 5)
    assert (result.state, result.found) == ("failed", f"nothing listens for jaeger at 127.0.0.1:{closed}")
    assert result.next_step


# --- disk ---------------------------------------------------------------------------------------------------------


def test_free_space_is_shown_by_disk(tmp_path: Path) -> None:
    """Files on the same disk share an entry; missing ones are left out."""
    (tmp_path / "spool").mkdir()
    (tmp_path / "leeway.db").touch()
    result = disk(settings_here(tmp_path, spool_limit=1))
    assert (result.state, result.found.startswith("free for spool, database: ")) == ("ok", True)


def test_without_files_the_disk_is_skipped(tmp_path: Path) -> None:
    """This machine's disk is not the one that counts."""
    assert disk(settings_here(tmp_path)).state == "skipped"


def test_a_full_disk_fails(tmp_path: Path) -> None:
    """The next step names the folder."""
    (tmp_path / "reports").mkdir()
    result = disk(settings_here(tmp_path), least_bytes=2**63)
    assert (result.state, str(tmp_path / "reports") in str(result.next_step)) == ("failed", True)


def test_a_large_spool_limit_is_a_warning(tmp_path: Path) -> None:
    """In a long outage of the database the spool could fill the disk."""
    (tmp_path / "spool").mkdir()
    result = disk(settings_here(tmp_path, spool_limit=2**62))
    assert (result.state, "LEEWAY_SPOOL_LIMIT" in str(result.next_step)) == ("warning", True)


# --- clocks -------------------------------------------------------------------------------------------------------


def at(check: str, ahead_s: float | None) -> CheckResult:
    """A result with a clock."""
    return CheckResult(check, "ok", "answers", clock_ahead_s=ahead_s)


def test_clocks_that_agree_are_named() -> None:
    """Results without a clock are left out."""
    result = clocks([at("service", 0.4), at("grafana", None), at("database", -MOST_SKEW_S)])
    assert (result.state, result.found) == ("ok", "service, database within 2 s of ours")


def test_a_wrong_clock_fails() -> None:
    """The result says how far it is ahead or behind."""
    result = clocks([at("service", 0.0), at("database", -90.0), at("jaeger", 3_600.0)])
    assert (result.state, result.found) == ("failed", "database is 90 s behind, jaeger is 3,600 s ahead")
    assert "NTP" in str(result.next_step)


@pytest.mark.parametrize("results", [[], [at("grafana", None)]])
def test_without_clocks_the_check_is_skipped(results: list[CheckResult]) -> None:
    """Without any clock there is nothing to compare."""
    assert clocks(results).state == "skipped"


def test_an_invalid_variable_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service ignores it, or does not start: the result names it and what would do."""
    assert variables().state == "ok"
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "sometimes")
    found = variables()
    assert (found.state, "OTEL_TRACES_SAMPLER='sometimes'" in found.found) == ("failed", True)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4318")
    assert "no process starts" in str(variables().next_step)
