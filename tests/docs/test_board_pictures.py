"""`make board-pictures`: pictures of each dashboard in five states, with a stand-in for Docker and for Grafana."""

from __future__ import annotations

from pathlib import Path

import pytest

from docs.board_pictures import BOARDS, STATES, WIDTHS, main
from tests.config.boards import BOARDS as FILES


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where programs called `docker` and `draw` write how they were called, one call a line."""
    log, folder = tmp_path / "calls", tmp_path / "bin"
    folder.mkdir()
    for name, more in (("docker", 'echo "$LEEWAY_TRAFFIC"'), ("draw", 'touch "$2"')):
        program = folder / name
        program.write_text(
            f'#!/bin/sh\necho {name} "$@" "traffic=$LEEWAY_TRAFFIC" >> {log}\n{more}\n', encoding="utf-8"
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return log


def test_every_dashboard_is_drawn_in_every_state(calls: Path, tmp_path: Path) -> None:
    """At both widths, each with a name of its own."""
    images = tmp_path / "img"
    assert main(["--draw", "draw", "--images", str(images), "--seconds", "0"]) == 0
    assert {each.name for each in images.iterdir()} == {
        f"{state.name}-{board}-{width}.png" for state in STATES for board in BOARDS for width in WIDTHS
    }
    assert calls.read_text().count("\ndraw ") == 40


def test_each_state_is_brought_about(calls: Path, tmp_path: Path) -> None:
    """Drift and wrong labels by the traffic's options, slowness by a fault, absence by stopping; calm at the end."""
    main(["--draw", "draw", "--images", str(tmp_path / "img"), "--seconds", "0"])
    done = [line for line in calls.read_text().splitlines() if line.startswith("docker ")]
    started = [line.partition("traffic=")[2] for line in done if " up " in line]
    assert [("--drift 0.8" in each, "--concept-drift" in each) for each in started] == [
        (False, False),
        (True, False),
        (False, False),
        (False, True),
        (False, False),
    ]
    assert sum("faults on --slow-scoring" in each for each in done) == 1
    assert [each.split(" traffic=")[0] for each in done if " stop " in each] == ["docker compose stop traffic drift"]


def test_a_state_can_be_chosen(calls: Path, tmp_path: Path) -> None:
    """To draw one again."""
    main(["--draw", "draw", "--images", str(tmp_path / "img"), "--seconds", "0", "--state", "calm"])
    assert calls.read_text().count("\ndraw ") == 8


def test_without_a_stack_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and the command that starts the stack."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit) as ended:
        main(["--draw", "draw", "--images", str(tmp_path / "img"), "--seconds", "0"])
    assert ended.value.code == 2
    assert "LEEWAY_FAULTS=on docker compose up" in capsys.readouterr().err


def test_pictures_are_of_all_dashboards() -> None:
    """A new dashboard is not forgotten."""
    assert set(BOARDS) == set(FILES)
