"""Which board is kept in which file, and as what text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from observability.grafana.generate.drift import drift
from observability.grafana.generate.home import home
from observability.grafana.generate.pipeline import pipeline
from observability.grafana.generate.service import service

FOLDER: Final = Path(__file__).parents[1] / "dashboards"
BOARDS: Final = {"latency-drift.json": home, "service.json": service, "drift.json": drift, "pipeline.json": pipeline}


def texts() -> dict[str, str]:
    """The text of each dashboard's file, by the file's name. The same code gives the same text."""
    return {
        name: json.dumps(make(), cls=JSONEncoder, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
        for name, make in BOARDS.items()
    }
