"""The installed Chromium, driven by Playwright without a download of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from playwright.sync_api import Browser, sync_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
MISSING: Final = f"no browser found: none of {', '.join(NAMES)} is on the path (Debian: apt-get install chromium)"


def installed() -> str | None:
    """The path of Chromium; None if it is not installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield the installed Chromium, headless, and close it at the end.

    Raises:
        FileNotFoundError: it is not installed.
    """
    path = installed()
    if path is None:
        raise FileNotFoundError(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            browser.close()
