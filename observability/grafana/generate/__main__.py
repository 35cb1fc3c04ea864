"""Generates the dashboards: `python -m observability.grafana.generate [FOLDER]`."""

from __future__ import annotations

import sys
from pathlib import Path

from observability.grafana.generate.files import FOLDER, texts


def main(folder: Path) -> int:
    """Write every dashboard into the folder; return the exit code."""
    for name, text in texts().items():
        (folder / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
