"""Ask another process by HTTP: one request and its whole answer, within one deadline.

No proxies and no redirects: the answer comes from the address that was asked.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import msgspec

from leeway.urls import redact_url

OK, ACCEPTED, NOT_FOUND, UNPROCESSABLE, UNAVAILABLE = 200, 202, 404, 422, 503
REJECTED_KEY: Final = (401, 403)
"""The API key is missing, unknown, or lacks a scope."""
MAX_ANSWER_BYTES: Final = 2**24
_GIVE = "give one like http://127.0.0.1:8000"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class BadUrl(ValueError):
    """The address cannot be used; the message says what a valid one looks like, and shows no secret."""


class EndpointError(Exception):
    """No usable answer. The message continues a sentence that begins with the endpoint's name."""


class TimedOut(EndpointError):
    """No whole answer within the deadline."""


class Unreachable(EndpointError):
    """No connection."""


class NotHttp(EndpointError):
    """Something else listens there, or it broke off its answer."""


@dataclass(frozen=True)
class ServiceAddress:
    """Where requests go. `base` is the path prefix, without a trailing slash."""

    scheme: str
    host: str
    port: int
    base: str = ""
    api_key: str | None = field(default=None, repr=False)

    @classmethod
    def parse(cls, url: str, setting: str = "LEEWAY_URL", *, api_key: str | None = None) -> ServiceAddress:
        """Read an address; credentials in it are rejected. `setting` names it in the error message.

        Raises:
            BadUrl: it is not an http or https address.
        """
        shown = f"{setting} ({redact_url(url)})"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise BadUrl(f"{shown} is not a valid address: {_GIVE}") from error
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or parts.username is not None:
            raise BadUrl(f"{shown} is not an http or https address without credentials: {_GIVE}")
        if parts.query or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
            raise BadUrl(f"{shown} must contain only scheme, host, port and path: {_GIVE}")
        return cls(
            parts.scheme,
            parts.hostname,
            _DEFAULT_PORTS[parts.scheme] if port is None else port,
            parts.path.rstrip("/"),
            api_key,
        )

    @property
    def authority(self) -> str:
        """Host and port, as in a URL: IPv6 addresses have brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def headers(self) -> dict[str, str]:
        """The headers that carry the API key."""
        return {} if self.api_key is None else {"authorization": f"Bearer {self.api_key}"}

    @property
    def url(self) -> str:
        """The whole address."""
        return f"{self.scheme}://{self.authority}{self.base}"


@dataclass(frozen=True)
class HttpResponse:
    """An HTTP answer. `clock_ahead_s` is how far the server's clock is ahead of ours; None if it sends no date."""

    status: int
    body: bytes
    took_s: float
    clock_ahead_s: float | None
    server: str

    def document(self) -> dict[str, Any]:
        """The JSON object in the body.

        Raises:
            EndpointError: the body is not a JSON object.
        """
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise EndpointError(f"returned an unexpected response (status {self.status}, not a JSON object)") from error


def ask(target: ServiceAddress | str, path: str, timeout_s: float, **request: Any) -> HttpResponse:  # noqa: ANN401 (handed on)
    """Send one request and wait for its answer; see `ask_async`."""
    return asyncio.run(ask_async(target, path, timeout_s, **request))


async def ask_async(
    target: ServiceAddress | str,
    path: str,
    timeout_s: float,
    *,
    method: str | None = None,
    body: object = None,
    headers: Mapping[str, str] | None = None,
    api_key: str | None = None,
) -> HttpResponse:
    """GET `path`, or POST `body` as JSON if there is one, or use `method`. `api_key` is for an address given as text.

    `timeout_s` limits the whole exchange, from the name lookup to the last byte: a timeout of httpx2's own starts again
    with each byte.

    Raises:
        EndpointError: no usable answer; see its subclasses.
    """
    try:
        where = ServiceAddress.parse(target, "its address", api_key=api_key) if isinstance(target, str) else target
    except BadUrl as error:
        raise Unreachable(f"cannot be reached: {error}") from error
    content = b"" if body is None else msgspec.json.encode(body)
    all_headers = {"user-agent": f"leeway/{version('leeway')}", "accept-encoding": "identity", **where.headers}
    all_headers |= headers or {}
    if body is not None:
        all_headers["content-type"] = "application/json"
    request = httpx2.Request(
        method or ("GET" if body is None else "POST"), f"{where.url}{path}", headers=all_headers, content=content
    )
    try:
        async with asyncio.timeout(timeout_s):
            return await _exchange(where, request)
    except TimeoutError as error:
        raise TimedOut(f"does not answer at {where.url} within {timeout_s:g} s") from error
    except httpx2.ConnectError as error:
        raise Unreachable(f"is unreachable: {_reason(error, where)}") from error
    except httpx2.TransportError as error:
        raise NotHttp(f"is something else: the server at {where.url} does not speak HTTP") from error


async def _exchange(target: ServiceAddress, request: httpx2.Request) -> HttpResponse:
    tls = ssl.create_default_context() if target.scheme == "https" else False  # making a context takes 20 ms
    async with httpx2.AsyncClient(verify=tls, trust_env=False, timeout=None) as client:
        asked_at_s, began_s = time.time(), time.monotonic()
        response = await client.send(request, stream=True)
        answered_at_s = time.time()
        try:
            body = await _read(response)
        finally:
            await response.aclose()
    ahead_s = clock_ahead_s(response.headers.get("date"), (asked_at_s + answered_at_s) / 2)
    server = response.headers.get("server", "")
    return HttpResponse(response.status_code, body, time.monotonic() - began_s, ahead_s, server)


async def _read(response: httpx2.Response) -> bytes:
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > MAX_ANSWER_BYTES:
            raise EndpointError(f"sends more than {MAX_ANSWER_BYTES // 2**20} MiB in one answer")
    return bytes(body)


def _reason(error: BaseException, target: ServiceAddress) -> str:
    causes = list(_causes(error))
    if any(isinstance(each, socket.gaierror) for each in causes):
        return f"the host name in {target.url} is unknown"
    if any(isinstance(each, ConnectionRefusedError) for each in causes):
        return f"nothing listens at {target.url}"
    reason = next((each.strerror for each in causes if isinstance(each, OSError) and each.strerror), str(error))
    return f"{target.url} ({reason})"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error, what it came from, and so on; of a group the first."""
    while error is not None:
        yield error
        error = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__


def clock_ahead_s(date: str | None, at_s: float) -> float | None:
    """How far a clock that says `date` (a header, in whole seconds) is ahead of ours at `at_s` (Unix time)."""
    try:
        parsed = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    return round(parsed.replace(tzinfo=parsed.tzinfo or UTC).timestamp() + 0.5 - at_s, 3)
