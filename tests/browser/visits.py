"""How the tests look at a page: opened for real, with an ear on what it says and an eye on what it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route

DESK: Final = 1280
PHONE: Final = 390
"""Widths in pixels."""

_LOOPBACK: Final = {"127.0.0.1", "localhost", "::1"}
_INLINE: Final = {"file", "data", "blob", "about"}

FOCUSABLE: Final = "a[href], summary, button, input, select, [tabindex='0']"
_VISIBLE: Final = f"""() => [...document.querySelectorAll("{FOCUSABLE}")].filter(each => each.checkVisibility())"""


def stays_here(url: str) -> bool:
    """Whether a request for `url` stays on this machine."""
    parts = urlsplit(url)
    return parts.scheme in _INLINE or (parts.scheme in {"http", "ws"} and parts.hostname in _LOOPBACK)


class Visitor:
    """Opens pages. What they say in the console is in `said`; what they asked for beyond this machine, in `left`."""

    def __init__(self, browser: Browser, width: int = DESK) -> None:
        self.left: list[str] = []
        self.said: list[str] = []
        self._context = browser.new_context(viewport={"width": width, "height": 900})
        self._context.route("**/*", self._check)
        self._context.on("request", self._note)

    def open(self, url: str) -> Page:
        """The page, loaded."""
        page = self._context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("websocket", lambda socket: self.left.append(socket.url))
        page.goto(url, wait_until="load")
        return page

    def close(self) -> None:
        """Close all of it."""
        self._context.close()

    def _check(self, route: Route) -> None:
        if stays_here(route.request.url):
            route.continue_()
        else:
            route.abort()

    def _note(self, request: Request) -> None:
        if not stays_here(request.url):
            self.left.append(request.url)

    def _hear(self, message: ConsoleMessage) -> None:
        self.said.append(f"{message.type}: {message.text}")


def overflow(page: Page) -> int:
    """By how many pixels the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def focusable(page: Page) -> int:
    """How many elements on the page can be seen and take the focus."""
    return int(page.evaluate(f"({_VISIBLE})().length"))


def tabbed(page: Page, count: int) -> list[dict[str, Any]]:
    """Press Tab `count` times: which focusable element had the focus each time (-1: none), and how that shows."""
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
    """A point of a chart as it stands on the screen: its value, and its centre's place within the chart, 0…1."""

    value: float
    x: float
    y: float


def points(page: Page, chart: str, series: str | None = None) -> list[Point]:
    """The points of a chart, of one series where it is named, in the order in which they were drawn."""
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
