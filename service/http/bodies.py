"""Request bodies: decompressed, and rejected with a problem document once they are larger than the limit."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from backports import zstd
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.http.problems import EncodingError, Problems, of_status

MAX_BODY_BYTES = 2**20
ENCODINGS = "gzip, deflate, zstd"
_ZSTD_WINDOW_LOG = 23
"""8 MiB, the window that RFC 8878 recommends supporting; a larger one is rejected, as it takes that much memory."""
_GZIP, _ZLIB, _RAW_DEFLATE = 31, 15, -15
"""What zlib calls the formats."""


class CompressedBody:
    """Decompresses a body piece by piece, with at most `MAX_BODY_BYTES` on either side.

    A body may consist of several streams. `start` begins one, given its first byte.
    """

    def __init__(self, encoding: str, start: Callable[[int], Any]) -> None:
        self._encoding, self._start = encoding, start
        self._stream: Any = None
        self._received_bytes = self._bytes = 0

    def feed(self, data: bytes) -> bytes:
        """Decompress the next piece.

        Raises:
            HTTPException: the body is too large, or it is not what its encoding says (`EncodingError`).
        """
        self._received_bytes += len(data)
        pieces = []
        try:
            while data:
                if self._stream is None or self._stream.eof:
                    self._stream = self._start(data[0])
                pieces.append(self._stream.decompress(data, MAX_BODY_BYTES - self._bytes + 1))
                self._bytes += len(pieces[-1])
                if max(self._bytes, self._received_bytes) > MAX_BODY_BYTES:
                    raise HTTPException(413)
                data = self._stream.unused_data if self._stream.eof else b""
        except (zlib.error, zstd.ZstdError) as error:
            raise EncodingError(f"The body is not valid {self._encoding}: {error}.") from error
        return b"".join(pieces)

    def finish(self) -> None:
        """Check that the last stream is complete.

        Raises:
            EncodingError: it is not.
        """
        if self._stream is not None and not self._stream.eof:
            raise EncodingError(f"The body is not valid {self._encoding}: it is incomplete.")


def _zstd(_: int) -> zstd.ZstdDecompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})


def _deflate(first: int) -> Any:  # noqa: ANN401 (zlib does not export the type)
    """Deflate with a zlib header, as the standard requires, or without one, as some clients send it."""
    return zlib.decompressobj(_ZLIB if first & 0x0F == zlib.DEFLATED else _RAW_DEFLATE)


_ENCODINGS: dict[bytes, Callable[[], CompressedBody]] = {
    b"gzip": lambda: CompressedBody("gzip", lambda _: zlib.decompressobj(_GZIP)),
    b"x-gzip": lambda: CompressedBody("gzip", lambda _: zlib.decompressobj(_GZIP)),
    b"deflate": lambda: CompressedBody("deflate", _deflate),
    b"zstd": lambda: CompressedBody("zstd", _zstd),
}


class Bodies:
    """Middleware that decompresses a body, and rejects it once it exceeds `MAX_BODY_BYTES`, compressed or not.

    FastAPI's own `max_body_size` answers in plain text where the request has a content length.
    """

    def __init__(self, app: ASGIApp, problems: Problems) -> None:
        self._app = app
        self._problems = problems

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _content_length(scope) > MAX_BODY_BYTES:
            await self._problems.response(of_status(413))(scope, receive, send)
            return
        encoding = b", ".join(value for name, value in scope["headers"] if name == b"content-encoding").lower()
        if encoding in {b"", b"identity"}:
            await self._app(scope, _limited(receive), send)
            return
        if encoding not in _ENCODINGS:
            response = self._problems.response(of_status(415))
            response.headers["accept-encoding"] = ENCODINGS
            await response(scope, receive, send)
            return
        hidden = {b"content-encoding", b"content-length"}
        plain = {**scope, "headers": [each for each in scope["headers"] if each[0] not in hidden]}
        await self._app(plain, _decompressed(receive, _ENCODINGS[encoding]()), send)


def _limited(receive: Receive) -> Receive:
    """Reject a body once it exceeds `MAX_BODY_BYTES`."""
    received_bytes = 0

    async def receive_within_limit() -> Message:
        nonlocal received_bytes
        message = await receive()
        received_bytes += len(message.get("body", b""))
        if received_bytes > MAX_BODY_BYTES:
            raise HTTPException(413)
        return message

    return receive_within_limit


def _decompressed(receive: Receive, body: CompressedBody) -> Receive:
    async def receive_decompressed() -> Message:
        message = await receive()
        if message["type"] != "http.request":
            return message
        text = body.feed(message.get("body", b""))
        if not message.get("more_body"):
            body.finish()
        return {**message, "body": text}

    return receive_decompressed


def _content_length(scope: Scope) -> int:
    """The content length of a request in bytes; 0 where it has none (received bytes are counted anyway)."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() and len(value) < 20 else 0  # noqa: PLR2004 (digits of 64 bits)
    return 0
