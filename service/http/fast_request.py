"""A request on the fast path, in the place of Uvicorn's cycle of a request and its response."""

from __future__ import annotations

from time import perf_counter_ns, time_ns
from typing import TYPE_CHECKING

from service.http.fast_path import HttpRequest

if TYPE_CHECKING:
    from service.http.protocol import ServiceProtocol


class _UnusedEvent:
    """Takes the place of the event that Uvicorn sets when a part of the body has arrived."""

    @staticmethod
    def set() -> None:
        """Do nothing."""


class FastRequest(HttpRequest):
    """A request on the fast path. To Uvicorn's protocol it looks like the cycle of a request and its response."""

    __slots__ = ("_protocol", "disconnected", "headers", "is_batch", "keep_alive", "response_complete", "target")

    message_event = _UnusedEvent
    response_started = False

    def __init__(self, protocol: ServiceProtocol, headers: list[tuple[bytes, bytes]]) -> None:
        self._protocol = protocol
        self.target = protocol.url
        self.headers = headers
        self.is_batch = False
        self.body = bytearray()
        self.keep_alive = True
        self.response_complete = self.disconnected = False
        self.arrived_at_ns, self.arrived_ns = time_ns(), perf_counter_ns()

    @property
    def is_open(self) -> bool:
        """See `WaitingRequest`."""
        return not self.disconnected

    def abandon(self) -> None:
        """See `WaitingRequest`."""
        self._protocol.limits.answered()
        self._protocol.fast_path.probe.abandoned()

    def answer_alone(self) -> None:
        """See `WaitingRequest`."""
        self.abandon()
        self._protocol.hand_over(self)

    def respond(self, body: bytes) -> None:
        """See `HttpRequest`."""
        protocol = self._protocol
        protocol.limits.answered()
        self.response_complete = True
        if not self.disconnected:
            protocol.respond(body, keep_alive=self.keep_alive)
        del self._protocol, self.body, self.headers  # telemetry keeps this object until its spans are sent
