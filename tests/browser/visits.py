"""Opens pages for the tests, and records their requests and console messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route

DESKTOP: Final = 1280
PHONE: Final = 390
"""Widths in pixels."""

_LOOPBACK: Final = {"127.0.0.1", "localhost", "::1"}
_INLINE: Final = {"file", "data", "blob", "about"}

FOCUSABLE: Final = "a[href], summary, button, input, select, [tabindex='0']"
_VISIBLE: Final = f"""() => [...document.querySelectorAll("{FOCUSABLE}")].filter(each => each.checkVisibility())"""


def is_local(url: str) -> bool:
    """Whether `url` is on this machine."""
    parts = urlsplit(url)
    return parts.scheme in _INLINE or (parts.scheme in {"http", "ws"} and parts.hostname in _LOOPBACK)


class Visitor:
    """Opens pages. Console messages are in `console`, external requests in `external`."""

    def __init__(self, browser: Browser, width: int = DESKTOP) -> None:
        self.external: list[str] = []
        self.console: list[str] = []
        self._context = browser.new_context(viewport={"width": width, "height": 900})
        self._context.route("**/*", self._check)
        self._context.on("request", self._note)

    def open(self, url: str) -> Page:
        """The page, loaded."""
        page = self._context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.console.append(str(error)))
        page.on("websocket", lambda socket: self.external.append(socket.url))
        page.goto(url, wait_until="load")
        return page

    def close(self) -> None:
        """Close all pages."""
        self._context.close()

    def _check(self, route: Route) -> None:
        if is_local(route.request.url):
            route.continue_()
        else:
            route.abort()

    def _note(self, request: Request) -> None:
        if not is_local(request.url):
            self.external.append(request.url)

    def _hear(self, message: ConsoleMessage) -> None:
        self.console.append(f"{message.type}: {message.text}")


def overflow(page: Page) -> int:
    """How many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def focusable(page: Page) -> int:
    """The number of visible elements that can have the focus."""
    return int(page.evaluate(f"({_VISIBLE})().length"))


def tabbed(page: Page, count: int) -> list[dict[str, Any]]:
    """Press Tab `count` times; for each: which element has the focus (-1: none), and whether that is visible."""
    found = []
    for _ in range(count):
        page.keyboard.press("Tab")
        found.append(
            page.evaluate(
                f"""() => {{
                const here = document.activeElement, style = getComputedStyle(here), box = here.getBoundingClientRect();
                return {{
                    place: ({_VISIBLE})().indexOf(here),
                    text: here.textContent.trim().slice(0, 60),
                    outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 1,
                    inSight: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
                }};
            }}"""
            )
        )
    return found


@dataclass(frozen=True)
class Point:
    """A point of a chart on the screen: its value, and the position of its centre within the chart, 0…1."""

    value: float
    x: float
    y: float


def points(page: Page, chart: str, series: str | None = None) -> list[Point]:
    """The points of a chart, or of one of its series, in drawing order."""
    found = page.evaluate(
        """([chart, series]) => {
            const frame = document.getElementById(chart).getBoundingClientRect();
            return [...document.querySelectorAll(`#${chart} circle[data-value]`)]
                .filter(dot => series === null || dot.dataset.series === series)
                .map(dot => {
                    const box = dot.getBoundingClientRect();
                    return {
                        value: Number(dot.dataset.value),
                        x: ((box.left + box.right) / 2 - frame.left) / frame.width,
                        y: 1 - ((box.top + box.bottom) / 2 - frame.top) / frame.height,
                    };
                });
        }""",
        [chart, series],
    )
    return [Point(**each) for each in found]
