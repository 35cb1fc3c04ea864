"""Which generated text is kept in which file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from docs.generate import metrics, settings, structure

ROOT: Final = Path(__file__).parents[2]
ARCHITECTURE: Final = "docs/architecture.md"


def texts() -> dict[str, str]:
    """The whole text of each file that holds something generated, by the file's name from the project's root.

    The same code gives the same text.
    """
    written = (ROOT / ARCHITECTURE).read_text(encoding="utf-8")
    return {
        "docs/reference/metrics.md": metrics.reference(),
        "docs/reference/settings.md": settings.reference(),
        ARCHITECTURE: structure.with_pictures(written),
    }
