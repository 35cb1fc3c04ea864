"""Writes the generated documentation anew: `python -m docs.generate`, or `make docs`."""

from __future__ import annotations

import sys

from docs.generate.files import ROOT, texts


def main() -> int:
    """Write every file; return the exit code."""
    for name, text in texts().items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
