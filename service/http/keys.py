"""Requires API keys for all routes but health checks, and describes them in OpenAPI."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from hmac import compare_digest
from typing import Any, Final

from starlette.types import ASGIApp, Receive, Send
from starlette.types import Scope as Connection

from leeway.keys import CHALLENGE, KeyRing, Scope, key_in
from service.http.methods import route_path
from service.http.problems import Problem, Problems, responses
from service.telemetry.probe import KeyProbe

OPEN_PATHS: Final = frozenset({"/health/live", "/health/ready"})
_SCOPES: Final = {"/predict": Scope.PREDICT, "/predict/batch": Scope.PREDICT, "/feedback": Scope.FEEDBACK}
"""The scopes of paths; any other path of a route needs `operate`."""
_BEARER: Final = 'Bearer realm="leeway"'
_LOG_EVERY_S: Final = 60.0
_log = logging.getLogger(__name__)


class KeyRejected(Exception):
    """A request may not be answered."""

    def __init__(self, status: int, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(status, kind, detail)


class Gate:
    """Admits requests by their keys. Rejections are counted, and logged once a minute."""

    def __init__(self, ring: KeyRing, probe: KeyProbe, clock_s: Callable[[], float] = time.monotonic) -> None:
        self.ring = ring
        self.probe = probe
        self._clock_s = clock_s
        self._unlogged = 0
        self._log_at_s = 0.0

    def name_of(self, key: bytes, scope: Scope) -> str | None:
        """The name of a key that allows this, or None; nothing is counted."""
        found = self.ring.find(key)
        return found[0] if found is not None and scope in found[1] else None

    def admit(self, headers: Iterable[tuple[bytes, bytes]], scope: Scope | None, *, is_page: bool = False) -> None:
        """Count a request, by its headers, as admitted for `scope`; None needs any key.

        Raises:
            KeyRejected: it has no key, an unknown one, or one without the scope.
        """
        key = key_in(headers, is_page=is_page)
        if key is None:
            self._reject("missing")
            raise KeyRejected(
                401, "missing-key", "Send an API key: Authorization: Bearer lw_…, or X-API-Key: lw_…, and only one."
            )
        found = self.ring.find(key)
        if found is None:
            self._reject("unknown")
            raise KeyRejected(401, "unknown-key", "This API key is unknown or was revoked.")
        name, scopes = found
        if scope is not None and scope not in scopes:
            self._reject("forbidden", name)
            allowed = ", ".join(sorted(scopes)) or "nothing"
            raise KeyRejected(403, "missing-scope", f"The API key {name!r} allows {allowed}, and this needs {scope}.")
        self.probe.admitted(name)

    def _reject(self, reason: str, name: str | None = None) -> None:
        self.probe.rejected(reason, name)
        self._unlogged += 1
        if (now_s := self._clock_s()) >= self._log_at_s:
            _log.warning("rejected %d requests without a valid API key; the last one: %s", self._unlogged, reason)
            self._unlogged, self._log_at_s = 0, now_s + _LOG_EVERY_S


class ConnectionKey:
    """Admits requests of one connection to the fast path.

    They mostly have the same key, so a key is compared with the last one instead of hashed. Nothing is rejected or
    counted here: the application does that, and explains what is wrong with a key.
    """

    def __init__(self, gate: Gate | None) -> None:
        self._gate = gate
        self._key = b""
        self._version = -1
        self.name: str | None = None
        """The name of the key of the last request that was admitted; None without a gate."""

    def admits(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        """Whether a request, by its headers, has a key with the scope `predict`, or needs none."""
        gate = self._gate
        if gate is None:
            return True
        if (key := key_in(headers)) is None:
            return False
        gate.ring.refresh()
        if gate.ring.version == self._version and compare_digest(key, self._key):
            return True
        if (name := gate.name_of(key, Scope.PREDICT)) is None:
            return False
        self._key, self.name, self._version = key, name, gate.ring.version
        return True


class Keys:
    """Middleware that admits only requests with a key; `is_known` returns whether a route has the path."""

    def __init__(self, app: ASGIApp, gate: Gate, problems: Problems, is_known: Callable[[Connection], bool]) -> None:
        self._app = app
        self._gate = gate
        self._problems = problems
        self._is_known = is_known

    async def __call__(self, scope: Connection, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        if scope["type"] != "http" or route_path(scope) in OPEN_PATHS:
            await self._app(scope, receive, send)
            return
        is_page = scope["method"] in {"GET", "HEAD"}
        try:
            self._gate.admit(scope["headers"], self._needed(scope), is_page=is_page)
        except KeyRejected as error:
            response = self._problems.response(error.problem)
            if error.problem.status == 401:  # noqa: PLR2004 (a challenge belongs to this status)
                response.headers["www-authenticate"] = f"{_BEARER}, {CHALLENGE}" if is_page else _BEARER
            await response(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _needed(self, scope: Connection) -> Scope | None:
        """The scope that a path needs; None, which is any key, if no route has the path."""
        if (needed := _SCOPES.get(route_path(scope))) is not None:
            return needed
        return Scope.OPERATE if self._is_known(scope) else None


def with_keys(document: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI document with both ways to send a key, at each operation that needs one."""
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, made by `leeway keys add`"},
        "header": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same key"},
    }
    rejected = {str(status): described for status, described in responses(401, 403).items()}
    for path, operations in document["paths"].items():
        if path not in OPEN_PATHS:
            for operation in operations.values():
                operation["security"] = [{"bearer": []}, {"header": []}]
                operation["responses"] = rejected | operation["responses"]
    return document
