"""Posts a changed recommendation as CloudEvents JSON (CloudEvents 1.0, structured mode), from a thread of its own."""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from drift.result import RunResult
from leeway.urls import redact_url

TIMEOUT_S = 5.0
TRIES = 3
FIRST_PAUSE_S = 1.0
WAITING = 100
_log = logging.getLogger(__name__)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Makes a redirect a failed try: urllib would send a GET without the event, to whatever a receiver names.

    Proxies of the environment (`https_proxy`, `no_proxy`) are kept, other than in `leeway doctor`, which asks its own
    neighbours: a receiver is often outside, and where a network has a proxy there may be no other way to it. Both the
    proxy and the receiver are named by who runs the worker, and neither by who is asked.
    """

    def redirect_request(self, *_: object, **__: object) -> None:
        """See `urllib.request.HTTPRedirectHandler`: None refuses."""


class Webhook:
    """Delivers events in order; never blocks who tells it, and never tells one run twice.

    An event is tried three times with growing pauses, then given up with an error in the log. While the receiver is
    away up to 100 events wait; of more, the newest are given up.
    """

    def __init__(self, url: str, *, source: str, pause: Callable[[float], object] = time.sleep) -> None:
        if not _is_address(url):
            raise ValueError(
                f"LEEWAY_WEBHOOK_URL={redact_url(url)}: give an address like https://host/path (what may be secret"
                " is not redact_url here)"
            )
        self._url = url
        self._source = source
        self._pause = pause
        self._waiting: queue.Queue[Mapping[str, Any] | None] = queue.Queue(WAITING)
        self._sent: set[str] = set()
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._thread = threading.Thread(target=self._work, name="webhook", daemon=True)
        self._thread.start()

    def notify(self, result: RunResult, previous: str | None) -> None:
        """Queue the event of a run whose recommendation is not the `previous` one."""
        if result.run_id in self._sent:
            return
        self._sent.add(result.run_id)
        try:
            self._waiting.put_nowait(event(result, previous, self._source))
        except queue.Full:
            _log.error("webhook: %d events wait already; the one of run %s is given up", WAITING, result.run_id)

    def close(self, timeout_s: float = 1.0) -> None:
        """Stop after the events that wait, or after `timeout_s`."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            self._deliver(waiting)

    def _deliver(self, document: Mapping[str, Any]) -> None:
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                self._pause(FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                return self._post(document)
            except (OSError, HTTPException, ValueError) as error:  # of OSError are all that urllib raises itself
                problem = str(error) or type(error).__name__
        _log.error("webhook: event %s was not delivered in %d tries: %s", document["id"], TRIES, problem)
        return None

    def _post(self, document: Mapping[str, Any]) -> None:
        request = urllib.request.Request(  # noqa: S310 (the scheme was checked)
            self._url,
            data=json.dumps(document, ensure_ascii=False).encode(),
            headers={"Content-Type": "application/cloudevents+json; charset=UTF-8"},
            method="POST",
        )
        with self._opener.open(request, timeout=TIMEOUT_S) as answer:
            answer.read(1)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is none
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isprintable() and " " not in url
    except ValueError:  # a port that is none, half an IPv6 address
        return False


def event(result: RunResult, previous: str | None, source: str) -> dict[str, Any]:
    """The CloudEvents document: its `id` is the run's, so that a receiver can tell a repetition."""
    document = result.to_json()
    members = ("recommendation", "decision", "reason", "share", "threshold", "model", "current", "verdicts", "trace_id")
    return {
        "specversion": "1.0",
        "id": result.run_id,
        "source": source,
        "type": "io.leeway.drift.recommendation.changed",
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": "application/json",
        "subject": str(result.model.name),
        "data": {"previous": previous, **{name: document[name] for name in members}},
    }
