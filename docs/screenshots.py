"""Take the pictures of docs/img with the installed Chromium, from a new run of the demo: `make screenshots`.

`python -m docs.screenshots --demo FOLDER` uses an earlier run of the demo.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

from playwright.sync_api import Browser

from docs.chromium import MISSING, chromium, installed

IMAGES: Final = Path(__file__).parent / "img"


@dataclass(frozen=True)
class Shot:
    """One picture: which page of the demo's folder, its height in CSS pixels, light or dark."""

    name: str
    page: str
    height: int = 900
    scheme: Literal["light", "dark"] = "light"


WIDTH: Final = 1280
SCALE: Final = 1.5
"""Pixels of a picture per CSS pixel."""

DEMO, REPORTS, RUN = "index.html", "reports/index.html", "reports/runs/*/index.html"
SHOTS: Final = (
    Shot("demo", DEMO, height=1300),
    Shot("demo-dark", DEMO, height=1300, scheme="dark"),
    Shot("drift-page", REPORTS),
    Shot("drift-page-dark", REPORTS, scheme="dark"),
    Shot("drift-run", RUN),
)


def take(browser: Browser, pages: Mapping[str, Path], images: Path) -> None:
    """Take every picture of the `pages` (see `pages_of`) into the folder `images`."""
    images.mkdir(parents=True, exist_ok=True)
    for shot in SHOTS:
        page = browser.new_page(
            viewport={"width": WIDTH, "height": shot.height},
            color_scheme=shot.scheme,
            device_scale_factor=SCALE,
            reduced_motion="reduce",
        )
        page.goto(pages[shot.page].resolve().as_uri(), wait_until="load")
        # Playwright would write the file in a thread that outlives the page.
        (images / f"{shot.name}.png").write_bytes(page.screenshot())
        page.close()


def pages_of(demo: Path) -> dict[str, Path]:
    """The pages in the demo's folder.

    Raises:
        FileNotFoundError: one is missing.
    """
    return {pattern: _page_of(demo, pattern) for pattern in (DEMO, REPORTS, RUN)}


def _page_of(demo: Path, pattern: str) -> Path:
    """The page; of several runs the one with the greatest share of drifted features."""
    found = sorted(demo.glob(pattern))
    if not found:
        raise FileNotFoundError(f"{demo} has no {pattern}: run `leeway demo` to the end")
    return max(found, key=_share)


def _share(page: Path) -> float:
    """The share in the result of a run's page; 0 without a result."""
    document = page.with_name("result.json")
    return json.loads(document.read_text(encoding="utf-8"))["share"] or 0.0 if document.exists() else 0.0


def main(arguments: list[str]) -> int:
    """Run the demo unless one is given, take the pictures, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, help="the folder of an earlier demo (default: run one now)")
    parser.add_argument("--images", type=Path, default=IMAGES, help="folder for the pictures (default: docs/img)")
    options = parser.parse_args(arguments)
    if installed() is None:
        parser.exit(2, f"{MISSING}\n")
    with TemporaryDirectory() as scratch:
        demo = options.demo
        if demo is None:
            demo = Path(scratch) / "demo"
            subprocess.run([sys.executable, "-m", "cli.main", "demo"], cwd=scratch, check=True)
        try:
            pages = pages_of(demo)
            with chromium() as browser:
                take(browser, pages, options.images)
        except FileNotFoundError as error:
            parser.exit(2, f"{error}\n")
    sys.stdout.write(f"{len(SHOTS)} pictures in {options.images}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
