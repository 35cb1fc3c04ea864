"""Take pictures of each dashboard in five states, at two widths: `make board-pictures`; half an hour.

Needs the running stack with faults allowed: `LEEWAY_FAULTS=on docker compose up --build --detach`. Without Grafana,
`--draw COMMAND` names a program that draws a dashboard's file from Prometheus: `COMMAND BOARD.json OUT.png --prometheus
URL --last 600s --width 1280`. Compose's own variables (COMPOSE_FILE, COMPOSE_PROJECT_NAME) choose another project.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from docs.chromium import MISSING, chromium, installed

ROOT: Final = Path(__file__).parents[1]
FILES: Final = ROOT / "observability" / "grafana" / "dashboards"
BOARDS: Final = ("latency-drift", "service", "drift", "pipeline")
WIDTHS: Final = (1600, 1280)
HEIGHT: Final = 2_700
"""Enough for the longest dashboard at both widths, in CSS pixels: Grafana draws only the panels in view."""
SETTLED_MS: Final = 60_000
"""How long a dashboard may take until it has all answers."""
LASTING_S: Final = 360
"""Longer than the drift window, so that the window holds nothing of the state before."""
BEFORE_S: Final = 240
"""How much of the state before a picture shows."""
RATE: Final = "--rate 20 --labels"


@dataclass(frozen=True)
class State:
    """A state of the stack: the options of `leeway traffic`, those of `leeway faults on`, and what is stopped."""

    name: str
    traffic: str = RATE
    faults: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()


STATES: Final = (
    State("calm"),
    State("drift", f"{RATE} --drift 0.8 --drift-after 0"),
    State("slow", faults=("--slow-scoring", "80", "--slow-scoring-probability", "0.3")),
    State("labels", f"{RATE} --concept-drift 1 --drift-after 0"),
    State("nobody", stopped=("traffic", "drift")),
)
"""Calm, drifted input, slow scoring, labels that contradict the model, and neither traffic nor a drift worker."""

Take = Callable[[str, int, int, Path], object]
"""Takes a picture of a dashboard: its name, the seconds to show, the width, the file."""


def compose(*arguments: str, traffic: str = RATE) -> None:
    """Run `docker compose …` in the project's folder.

    Raises:
        CalledProcessError: it failed.
    """
    environment = os.environ | {"COMPOSE_PROFILES": "traffic", "LEEWAY_TRAFFIC": traffic, "LEEWAY_FAULTS": "on"}
    subprocess.run(["docker", "compose", *arguments], cwd=ROOT, env=environment, check=True)


def enter(state: State, lasting_s: int) -> None:
    """Bring the stack into a state, and wait."""
    compose("exec", "--no-TTY", "service", "leeway", "faults", "off")
    if state.stopped:
        compose("stop", *state.stopped)
    else:
        compose("up", "--detach", "--no-deps", "traffic", "drift", traffic=state.traffic)
    if state.faults:
        compose(
            *("exec", "--no-TTY", "service", "leeway", "faults", "on"), *state.faults, "--for", str(lasting_s + 120)
        )
    time.sleep(lasting_s)


def take_all(states: Sequence[State], take: Take, images: Path, lasting_s: int) -> int:
    """Take every picture, into files such as calm-drift-1280.png; return their number. The stack is calm at the end."""
    images.mkdir(parents=True, exist_ok=True)
    for state in states:
        enter(state, lasting_s)
        for board in BOARDS:
            for width in WIDTHS:
                take(board, lasting_s + BEFORE_S, width, images / f"{state.name}-{board}-{width}.png")
    enter(STATES[0], 0)
    return len(states) * len(BOARDS) * len(WIDTHS)


def by_command(command: str, prometheus: str) -> Take:
    """Draw the files of the dashboards with a program."""

    def take(board: str, last_s: int, width: int, image: Path) -> None:
        options = ["--prometheus", prometheus, "--last", f"{last_s}s", "--width", str(width)]
        subprocess.run(
            [command, str(FILES / f"{board}.json"), str(image), *options], check=False
        )  # 1 where a panel is empty

    return take


def by_grafana(grafana: str) -> Take:
    """Take pictures of Grafana's pages with the installed Chromium."""

    def take(board: str, last_s: int, width: int, image: Path) -> None:
        uid = json.loads((FILES / f"{board}.json").read_text(encoding="utf-8"))["uid"]
        with chromium() as browser:
            page = browser.new_page(viewport={"width": width, "height": HEIGHT}, reduced_motion="reduce")
            url = f"{grafana.rstrip('/')}/d/{uid}?from=now-{last_s}s&to=now&refresh="
            page.goto(url, wait_until="networkidle", timeout=SETTLED_MS)
            image.write_bytes(page.screenshot())

    return take


def main(arguments: Sequence[str]) -> int:
    """Take the pictures, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, default=ROOT / "docs" / "img" / "boards", help="folder for the pictures")
    parser.add_argument("--grafana", metavar="URL", default="http://127.0.0.1:3000")
    parser.add_argument("--prometheus", metavar="URL", default="http://127.0.0.1:9090", help="for --draw")
    parser.add_argument("--draw", metavar="COMMAND", help="a program that draws a dashboard's file, instead of Grafana")
    parser.add_argument(
        "--state", action="append", choices=[each.name for each in STATES], help="only this; repeatable"
    )
    parser.add_argument("--seconds", type=int, default=LASTING_S, help="how long each state lasts before its pictures")
    options = parser.parse_args(arguments)
    if options.draw is None and installed() is None:
        parser.exit(2, f"{MISSING}\n")
    take = by_grafana(options.grafana) if options.draw is None else by_command(options.draw, options.prometheus)
    states = [each for each in STATES if options.state is None or each.name in options.state]
    try:
        taken = take_all(states, take, options.images, options.seconds)
    except (OSError, subprocess.CalledProcessError) as error:
        parser.exit(2, f"{error}\nIs the stack running? LEEWAY_FAULTS=on docker compose up --build --detach\n")
    sys.stdout.write(f"{taken} pictures in {options.images}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
