"""Posts a changed recommendation as CloudEvents JSON (CloudEvents 1.0, structured mode), from its own thread."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import httpx2
import msgspec

from drift.result import RunResult
from leeway.urls import redact_url

TIMEOUT_S = 5.0
TRIES = 3
FIRST_PAUSE_S = 1.0
WAITING = 100
_MEMBERS = ("recommendation", "decision", "reason", "share", "threshold", "model", "current", "verdicts", "trace_id")
_log = logging.getLogger(__name__)


class Webhook:
    """Delivers events in order; `notify` never blocks, and one run is posted once.

    An event is tried three times with growing pauses, then dropped with an error in the log. While the receiver is
    unreachable up to 100 events wait; further ones are dropped. Redirects are failures. Proxies from the environment
    (`https_proxy`, `no_proxy`) are used: a receiver is often outside the network.
    """

    def __init__(self, url: str, *, source: str, pause: Callable[[float], object] = time.sleep) -> None:
        if not _is_address(url):
            raise ValueError(
                f"LEEWAY_WEBHOOK_URL={redact_url(url)}: give an address like https://host/path"
                " (user, path and query are not shown here)"
            )
        self._url = url
        self._source = source
        self._pause = pause
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING)
        self._sent: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="webhook", daemon=True)
        self._thread.start()

    def notify(self, result: RunResult, previous: str | None) -> None:
        """Queue the event of a run whose recommendation differs from the `previous` one."""
        if result.run_id in self._sent:
            return
        self._sent.add(result.run_id)
        try:
            self._waiting.put_nowait(event(result, previous, self._source))
        except queue.Full:
            _log.error("webhook: %d events are waiting; the event of run %s is dropped", WAITING, result.run_id)

    def close(self, timeout_s: float = 1.0) -> None:
        """Stop after the events that wait, or after `timeout_s`."""
        try:
            self._waiting.put_nowait(None)
        except queue.Full:
            return
        self._thread.join(timeout_s)

    def _work(self) -> None:
        with httpx2.Client(timeout=TIMEOUT_S, follow_redirects=False) as client:
            while (waiting := self._waiting.get()) is not None:
                self._deliver(client, waiting)

    def _deliver(self, client: httpx2.Client, document: dict[str, Any]) -> None:
        problem = ""
        for attempt in range(TRIES):
            if attempt:
                self._pause(FIRST_PAUSE_S * 2 ** (attempt - 1))
            try:
                if (status := self._post(client, document)) < 300:  # noqa: PLR2004 (success)
                    return
                problem = f"the receiver answered with status {status}"
            except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
                problem = str(error) or type(error).__name__
        _log.error("webhook: event %s was not delivered in %d tries: %s", document["id"], TRIES, problem)

    def _post(self, client: httpx2.Client, document: dict[str, Any]) -> int:
        """Post the event and return the status; the body of the answer is not read."""
        body = msgspec.json.encode(document)
        headers = {"Content-Type": "application/cloudevents+json; charset=UTF-8"}
        with client.stream("POST", self._url, content=body, headers=headers) as answer:
            return answer.status_code


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises if it is not a number
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and url.isprintable() and " " not in url
    except ValueError:  # also for half an IPv6 address
        return False


def event(result: RunResult, previous: str | None, source: str) -> dict[str, Any]:
    """The CloudEvents document. Its `id` is the run's, so that a receiver can detect a repetition."""
    document = msgspec.to_builtins(result)
    return {
        "specversion": "1.0",
        "id": result.run_id,
        "source": source,
        "type": "io.leeway.drift.recommendation.changed",
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": "application/json",
        "subject": str(result.model.name),
        "data": {"previous": previous, **{name: document[name] for name in _MEMBERS}},
    }
