"""Generates the dashboards: `python -m observability.grafana.generate [FOLDER]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from observability.grafana.generate.drift import drift
from observability.grafana.generate.home import home
from observability.grafana.generate.pipeline import pipeline
from observability.grafana.generate.runbook import pages
from observability.grafana.generate.service import service

FOLDER: Final = Path(__file__).parents[1]
DASHBOARDS, RUNBOOK = "dashboards", "runbook"
"""The folders of the dashboards and of the alerts' pages, in `FOLDER`; Grafana shows each as a folder."""
BOARDS: Final = {"latency-drift": home, "service": service, "drift": drift, "pipeline": pipeline}


def texts() -> dict[str, str]:
    """The text of each dashboard by the path of its file. The same code gives the same text."""
    boards = {f"{DASHBOARDS}/{name}.json": _text(make()) for name, make in BOARDS.items()}
    return boards | {f"{RUNBOOK}/{alert}.json": _text(page) for alert, page in pages().items()}


def _text(board: models.Dashboard) -> str:
    plain = json.loads(json.dumps(board, cls=JSONEncoder))
    return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(folder: Path) -> int:
    """Write every dashboard into the folder and remove those that are no longer made; return the exit code."""
    made = {folder / path: text for path, text in texts().items()}
    for kind in (DASHBOARDS, RUNBOOK):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for file in set((folder / kind).glob("*.json")) - made.keys():
            file.unlink()
    for file, text in made.items():
        file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
