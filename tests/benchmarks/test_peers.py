from __future__ import annotations

import venv
from pathlib import Path

import pytest

from benchmarks.peers import OURS, PEERS, CannotInstall, Peer, check, install
from benchmarks.serving.figures import Report, Round, Table
from benchmarks.serving.wrk import Load

MODEL = Path("/models/model.onnx")


def table(rates: dict[str, float], failed: int = 0) -> Table:
    """One round of each server, at this rate."""
    return Table("", {name: [Round(Load(int(rate), 1, 1, failed), 1, 1)] for name, rate in rates.items()}, OURS)


def test_bounds_are_ratios_at_eight_connections() -> None:
    """Peers without a bound, peers that could not be installed and other loads are not checked."""
    report = Report()
    for connections in (1, 8):
        check(table({OURS: 6_000, "MLServer": 1_000, "LitServe": 3_000}), connections, report)
    assert [(bound.name.split()[2].rstrip(","), bound.value, bound.holds) for bound in report.bounds] == [
        ("MLServer", 6, True)
    ]


def test_requests_that_fail_are_no_result() -> None:
    """An error costs less than an answer, so a server that answers errors does not count as fast."""
    report = Report()
    check(table({OURS: 6_000, "LitServe": 9_000}, failed=3), 1, report)
    assert not report.holds


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: str(peer.name))
def test_each_peer_serves_the_model_on_the_port(peer: Peer, tmp_path: Path) -> None:
    """Command, settings and configuration files name both."""
    start = peer.start(tmp_path, MODEL, 4_711)
    said = " ".join([*start.command, *start.settings.values(), *(each.read_text() for each in tmp_path.iterdir())])
    assert str(MODEL) in said
    assert "4711" in said


def test_a_peer_that_cannot_be_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the requirement and pip's last line; the next run tries again."""

    def create(folder: Path, **_: object) -> None:
        python = folder / "bin" / "python"
        python.parent.mkdir(parents=True, exist_ok=True)
        python.write_text("#!/bin/sh\necho 'ERROR: no matching distribution' >&2\nexit 1\n")
        python.chmod(0o755)

    monkeypatch.setattr(venv, "create", create)
    for _ in range(2):
        with pytest.raises(CannotInstall, match=r"mlserver==\S+ cannot be installed .*: ERROR: no matching"):
            install(PEERS[0], tmp_path)
