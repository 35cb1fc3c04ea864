"""Writes the generated documentation: `python -m docs.generate`, or `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from docs.generate import metrics, settings, structure

ROOT: Final = Path(__file__).parents[2]
ARCHITECTURE: Final = "docs/architecture.md"


def texts() -> dict[str, str]:
    """The text of each generated file, by its name from the project's root; the same code gives the same text."""
    return {
        "docs/reference/metrics.md": metrics.reference(),
        "docs/reference/settings.md": settings.reference(),
        ARCHITECTURE: structure.with_pictures((ROOT / ARCHITECTURE).read_text(encoding="utf-8")),
    }


def main(root: Path = ROOT) -> int:
    """Write every file below `root`; return the exit code."""
    for name, text in texts().items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
