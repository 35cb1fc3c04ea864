"""What the headers of a request mean for the fast path: whether it may take the request, and what telemetry needs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_JSON: Final = b"application/json"
_IRRELEVANT: Final = frozenset(
    {
        *(b"host", b"user-agent", b"accept", b"accept-encoding", b"accept-language", b"accept-charset"),
        *(b"content-length", b"connection", b"cache-control", b"pragma", b"dnt", b"origin", b"referer", b"cookie"),
        *(b"sec-fetch-dest", b"sec-fetch-mode", b"sec-fetch-site", b"x-request-id", b"authorization"),
        *(b"transfer-encoding", b"content-type", b"x-api-key"),
    }
)
"""Headers that neither change what a request means nor carry a trace."""
_FOR_APPLICATION: Final = frozenset({b"expect", b"upgrade", b"content-encoding", b"leeway-synthetic"})
"""Headers that the application or Uvicorn must see."""


def are_plain(headers: Iterable[tuple[bytes, bytes]], length_digits: int) -> bool:
    """Whether the content type is that of JSON, and the application needs to see no header.

    A content length of more than `length_digits` digits is left to the application, too.
    """
    content_type = None
    for name, value in headers:
        if name == b"content-type":
            if content_type is not None:
                return False
            content_type = value
        elif name == b"content-length":
            if len(value) > length_digits:
                return False
        elif name in _FOR_APPLICATION or not value.isascii():
            return False
    return content_type == _JSON


def client_of(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, bytes, list[tuple[bytes, bytes]]]:
    """The host that the client names, its user agent, and the headers that may carry a trace."""
    host = agent = b""
    contexts = []
    for pair in headers:
        name = pair[0]
        if name == b"host":
            host = pair[1]
        elif name == b"user-agent":
            agent = pair[1]
        elif name not in _IRRELEVANT:
            contexts.append(pair)
    return host, agent, contexts


def without_upgrade(method: bytes, target: bytes, version: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The head of a request without the header that offers another protocol."""
    lines = (name + b": " + value for name, value in headers if name != b"upgrade")
    return b"\r\n".join([method + b" " + target + b" HTTP/" + version.encode(), *lines, b"", b""])
