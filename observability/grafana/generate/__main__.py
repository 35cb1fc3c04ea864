"""Generates the dashboards: `python -m observability.grafana.generate [FOLDER]`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from observability.grafana.generate.drift import drift
from observability.grafana.generate.home import home
from observability.grafana.generate.pipeline import pipeline
from observability.grafana.generate.service import service

FOLDER: Final = Path(__file__).parents[1] / "dashboards"
BOARDS: Final = {"latency-drift.json": home, "service.json": service, "drift.json": drift, "pipeline.json": pipeline}


def texts() -> dict[str, str]:
    """The text of each dashboard by the name of its file. The same code gives the same text."""
    return {name: _text(make()) for name, make in BOARDS.items()}


def _text(board: models.Dashboard) -> str:
    plain = json.loads(json.dumps(board, cls=JSONEncoder), object_hook=_in_sight)
    return json.dumps(plain, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _in_sight(part: dict[str, Any]) -> dict[str, Any]:
    """Show links and annotations at the top of a dashboard; the SDK would put them into a menu."""
    if part.get("placement") == models.DashboardLinkPlacement.IN_CONTROLS_MENU:
        del part["placement"]
    return part


def main(folder: Path) -> int:
    """Write every dashboard into the folder; return the exit code."""
    for name, text in texts().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
