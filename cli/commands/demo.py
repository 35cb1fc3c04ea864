"""`leeway demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.demo.story import LASTS_S, SHORTEST_S
from cli.options import ignore_invalid_telemetry


def demo(
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for everything that the demo creates")] = Path(
        "demo"
    ),
    duration: Annotated[
        float, typer.Option(min=SHORTEST_S, max=3600, metavar="SECONDS", help="How long the six acts take together")
    ] = LASTS_S,
    rate: Annotated[float, typer.Option(min=20, max=1000, metavar="N", help="Requests a second, on average")] = 50.0,
) -> None:
    """Show Leeway at work in about a minute, without Docker or network, and leave a page: demo/index.html.

    It trains and serves a model. Then the inputs drift; then scoring slows down; then the model becomes no better than
    chance while everything else looks fine. Ctrl-C ends it at any time. Exit codes: 0 done, 1 failed, 2 the folder
    cannot be used, 130 Ctrl-C.
    """
    ignore_invalid_telemetry()
    from cli.demo.run import run_demo

    raise typer.Exit(run_demo(folder, duration, rate))
