"""Makes request headers text for whoever reads them next: the instrumentation fails of some that are none."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send


class ReadableHeaders:
    r"""Hands on each request with headers in UTF-8: bytes that are none become U+FFFD, as browsers show them.

    Outside the instrumentation, which takes such bytes for Python's escapes: of `\xff\x` it raises before anything of
    ours has seen the request, and what it makes of `\xff\ud800` cannot be written anywhere.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection; nearly all headers are ASCII, and cost a glance."""
        for _, value in scope.get("headers", ()):
            if not value.isascii():
                scope["headers"] = [(name, _in_utf8(value)) for name, value in scope["headers"]]
                break
        await self._app(scope, receive, send)


def _in_utf8(value: bytes) -> bytes:
    return value.decode("utf-8", "replace").encode()
