"""Takes the pictures of docs/img by the installed Chromium, from a demo that is played for them: `make screenshots`.

`python -m docs.screenshots --demo FOLDER` takes them of a demo that was played before.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal

from playwright.sync_api import Browser

from docs.chromium import MISSING, chromium, installed

IMAGES: Final = Path(__file__).parent / "img"
DESK, PHONE = 1280, 390


@dataclass(frozen=True)
class Shot:
    """One picture: of which page of the demo's folder, how wide and high, in light or dark.

    Height 0 takes the whole page. Sizes are in the page's own pixels; the picture has `SCALE` times as many.
    """

    name: str
    page: str
    width: int = DESK
    height: int = 900
    scheme: Literal["light", "dark"] = "light"


SCALE: Final = 1.5
SHOTS: Final = (
    Shot("demo", "index.html", height=1000),
    Shot("demo-dark", "index.html", height=1000, scheme="dark"),
    Shot("demo-whole", "index.html", height=0),
    Shot("demo-phone", "index.html", PHONE, 844),
    Shot("drift-page", "reports/index.html"),
    Shot("drift-page-dark", "reports/index.html", scheme="dark"),
    Shot("drift-page-phone", "reports/index.html", PHONE, 844),
    Shot("drift-run", "reports/runs/*/index.html"),
)


def take(browser: Browser, demo: Path, images: Path) -> None:
    """Take every picture of the pages in `demo` into the folder `images`.

    Raises:
        FileNotFoundError: the demo left no such page.
    """
    images.mkdir(parents=True, exist_ok=True)
    for shot in SHOTS:
        page = browser.new_page(
            viewport={"width": shot.width, "height": shot.height or 900},
            color_scheme=shot.scheme,
            device_scale_factor=SCALE,
            reduced_motion="reduce",
        )
        page.goto(newest(demo, shot.page).resolve().as_uri(), wait_until="load")
        page.screenshot(path=images / f"{shot.name}.png", full_page=not shot.height)
        page.close()


def newest(demo: Path, pattern: str) -> Path:
    """The page in `demo`; of several, the last by name, which for runs is the newest.

    Raises:
        FileNotFoundError: there is none.
    """
    found = sorted(demo.glob(pattern))
    if not found:
        raise FileNotFoundError(f"{demo} has no {pattern}: play the demo to its end with `leeway demo`")
    return found[-1]


def main(arguments: list[str]) -> int:
    """Play the demo where none is named, take the pictures, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, help="the folder of a demo that was played (default: one is played now)")
    parser.add_argument("--images", type=Path, default=IMAGES, help="where the pictures go (default: docs/img)")
    options = parser.parse_args(arguments)
    if installed() is None:
        parser.exit(2, f"{MISSING}\n")
    with TemporaryDirectory() as scratch:
        demo = options.demo
        if demo is None:
            demo = Path(scratch) / "demo"
            subprocess.run([sys.executable, "-m", "cli.main", "demo", "--folder", str(demo)], check=True)  # noqa: S603 (our own command)
        try:
            with chromium() as browser:
                take(browser, demo, options.images)
        except FileNotFoundError as error:
            parser.exit(2, f"{error}\n")
    sys.stdout.write(f"{len(SHOTS)} pictures in {options.images}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
