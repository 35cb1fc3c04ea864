from __future__ import annotations

import socket
from pathlib import Path

import pytest

from cli.doctor.finding import Finding
from cli.doctor.machine import MOST_SKEW_S, addresses, clocks, disk, ports
from leeway.settings import DoctorSettings
from tests.service.processes import closed_port


def settings_here(folder: Path, **changes: object) -> DoctorSettings:
    """Settings whose files would be in `folder`."""
    places = {"spool": folder / "spool.db", "reports": folder / "reports"}
    return DoctorSettings.read(**{"database_url": f"sqlite:///{folder / 'leeway.db'}", **places, **changes})


# --- ports --------------------------------------------------------------------------------------------------------


def test_only_what_is_named_must_listen() -> None:
    """By default the service alone; a SQLite file has no port."""
    assert addresses(DoctorSettings.read()) == {"service": ("127.0.0.1", 8000)}


def test_all_that_is_named_must_listen() -> None:
    """Each with its port, its scheme's or its database's where none is given; what is no address is left to others."""
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
    """Where each of them is."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
        finding = ports({"service": address}, 5)
    assert (finding.state, finding.found) == ("ok", f"open: service 127.0.0.1:{address[1]}")


def test_a_closed_port_is_a_failure() -> None:
    """Only the closed one is named."""
    closed = closed_port()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        finding = ports({"service": listener.getsockname(), "jaeger": ("127.0.0.1", closed)}, 5)
    assert (finding.state, finding.found) == ("failed", f"nobody listens for jaeger at 127.0.0.1:{closed}")
    assert finding.next_step


# --- disk ---------------------------------------------------------------------------------------------------------


def test_room_is_told_for_what_is_here(tmp_path: Path) -> None:
    """What shares a disk is told once; reports are not here."""
    for name in ("spool.db", "leeway.db"):
        (tmp_path / name).touch()
    finding = disk(settings_here(tmp_path, spool_limit=1))
    assert (finding.state, finding.found.startswith("free for spool, database: ")) == ("ok", True)


def test_where_nothing_is_no_room_is_told(tmp_path: Path) -> None:
    """The disk here is not the one that counts."""
    assert disk(settings_here(tmp_path)).state == "skipped"


def test_a_full_disk_is_a_failure(tmp_path: Path) -> None:
    """It names the folder."""
    (tmp_path / "reports").mkdir()
    finding = disk(settings_here(tmp_path), least_bytes=2**63)
    assert (finding.state, str(tmp_path / "reports") in str(finding.next_step)) == ("failed", True)


def test_a_spool_that_could_fill_the_disk_is_a_warning(tmp_path: Path) -> None:
    """Nothing is wrong yet; a long outage of the database would make it so."""
    (tmp_path / "spool.db").touch()
    finding = disk(settings_here(tmp_path, spool_limit=2**62))
    assert (finding.state, "LEEWAY_SPOOL_LIMIT" in str(finding.next_step)) == ("warning", True)


# --- clocks -------------------------------------------------------------------------------------------------------


def told(check: str, ahead_s: float | None) -> Finding:
    """Somebody who told the time."""
    return Finding(check, "ok", "answers", clock_ahead_s=ahead_s)


def test_clocks_that_agree_are_named() -> None:
    """Who did not tell the time is not."""
    finding = clocks([told("service", 0.4), told("grafana", None), told("database", -MOST_SKEW_S)])
    assert (finding.state, finding.found) == ("ok", "service, database within 2 s of ours")


def test_a_clock_that_is_off_is_a_failure() -> None:
    """How far, and which way."""
    finding = clocks([told("service", 0.0), told("database", -90.0), told("jaeger", 3_600.0)])
    assert (finding.state, finding.found) == ("failed", "database is 90 s behind, jaeger is 3,600 s ahead")
    assert "NTP" in str(finding.next_step)


@pytest.mark.parametrize("findings", [[], [told("grafana", None)]])
def test_where_nobody_tells_the_time_nothing_is_compared(findings: list[Finding]) -> None:
    """That is no failure of clocks."""
    assert clocks(findings).state == "skipped"
