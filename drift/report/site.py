"""Which answer an address has on the reports page; no sockets here.

Only names that are known are answered: no part of a request ever becomes a path.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from drift.report.folder import ReportFolder
from drift.report.page import page_policy, render_run

_RUN = re.compile(r"/runs/([0-9a-f-]{36})(?:/(.*))?")
_LATEST_MS = 200_000_000_000_000  # the year 8307; what is later is no time of a run
_TYPES = {".html": "text/html; charset=utf-8", ".json": "application/json"}
_TEXT = "text/plain; charset=utf-8"
_EVIDENTLY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; font-src data:;"
    " connect-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
)
"""Evidently's report is one file with its scripts inside: they may run, and may not talk to anybody."""


@dataclass(frozen=True)
class Answer:
    """What to send: a body, or a file to stream."""

    status: HTTPStatus
    content_type: str = _TEXT
    body: bytes = b""
    file: Path | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Site:
    """Finds the answer to a path; knows no sockets. `metrics_text` makes Prometheus text where there is `/metrics`."""

    def __init__(self, folder: ReportFolder, metrics_text: Callable[[], bytes | str] | None = None) -> None:
        self._folder = folder
        self._metrics_text = metrics_text

    def answer(self, path: str, query: str) -> Answer:
        """The answer to GET of this path, which is taken as it was sent: nothing is decoded."""
        if path in {"/", "/index.html"}:
            return _page(self._folder.page(now=datetime.now(UTC)))
        if path == "/healthz":
            return Answer(HTTPStatus.OK, body=b"ok\n")
        if path == "/metrics" and self._metrics_text is not None:
            return _metrics(self._metrics_text())
        if path == "/at":
            return self._nearest(query)
        if match := _RUN.fullmatch(path):
            return self._run(match[1], match[2])
        return _file(self._folder.single(path[1:]))

    def _run(self, run_id: str, name: str | None) -> Answer:
        run = self._folder.find(run_id)
        if run is None:
            return in_words(HTTPStatus.NOT_FOUND, "There is no such run; old reports are removed after a while.")
        if name is None:
            return Answer(HTTPStatus.MOVED_PERMANENTLY, headers={"Location": f"/runs/{run_id}/"})
        if name in {"", "index.html"}:
            return _page(render_run(run, self._folder.files([run]), trace_url=self._folder.trace_url))
        return _file(self._folder.member(run_id, name))

    def _nearest(self, query: str) -> Answer:
        moment = _moment(query)
        if moment is None:
            return in_words(HTTPStatus.BAD_REQUEST, "Ask for /at?time= with Unix time in milliseconds.")
        run = self._folder.nearest(moment)
        if run is None:
            return in_words(HTTPStatus.NOT_FOUND, "There is no run yet.")
        return Answer(HTTPStatus.FOUND, headers={"Location": f"/runs/{run.run_id}/"})


def _moment(query: str) -> datetime | None:
    """The time of `/at?time=<unix ms>`; None where it is nonsense."""
    given = [part.removeprefix("time=") for part in query.split("&") if part.startswith("time=")]
    if len(given) != 1 or not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,9})?", given[0]) or float(given[0]) > _LATEST_MS:
        return None
    return datetime.fromtimestamp(float(given[0]) / 1_000, UTC)


def _page(text: str) -> Answer:
    policy = f"{page_policy()}; frame-ancestors 'self'"
    return Answer(
        HTTPStatus.OK,
        _TYPES[".html"],
        text.encode(),
        headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"},
    )


def _metrics(text: bytes | str) -> Answer:
    body = text.encode() if isinstance(text, str) else text
    return Answer(HTTPStatus.OK, "text/plain; version=0.0.4; charset=utf-8", body)


def _file(path: Path | None) -> Answer:
    if path is None:
        return in_words(HTTPStatus.NOT_FOUND, "There is nothing here.")
    policy = {"Content-Security-Policy": _EVIDENTLY_POLICY} if path.suffix == ".html" else {}
    return Answer(HTTPStatus.OK, _TYPES[path.suffix], file=path, headers=policy | {"Cache-Control": "no-cache"})


def in_words(status: HTTPStatus, text: str) -> Answer:
    """A sentence as plain text."""
    return Answer(status, body=f"{text}\n".encode())
