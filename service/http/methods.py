"""`HEAD` for each `GET` route, and `OPTIONS` for each path: load balancers, proxies and browsers send them."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

EVERY_PATH = "*"
"""The target of `OPTIONS *`, which asks for the server as a whole."""


class ImpliedMethods:
    """Middleware that answers `HEAD` as `GET` without a body, and `OPTIONS` with the methods of the path.

    `methods_of` returns the methods of the routes with a path.
    """

    def __init__(self, app: ASGIApp, methods_of: Callable[[Scope], set[str]]) -> None:
        self._app = app
        self._methods_of = methods_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""
        method = scope["method"] if scope["type"] == "http" else ""
        if method == "HEAD":
            await self._app({**scope, "method": "GET"}, receive, _without_body(send))
        elif method == "OPTIONS" and (methods := self._methods_of(scope)):
            await Response(status_code=204, headers={"allow": ", ".join(sorted(methods))})(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _without_body(send: Send) -> Send:
    """Send the headers of the response to `GET`, without its body; an HTTP server would discard it anyway."""

    async def send_without_body(message: Message) -> None:
        await send({**message, "body": b""} if message["type"] == "http.response.body" else message)

    return send_without_body


def route_path(scope: Scope) -> str:
    """The path of a request without the one under which a proxy serves the API."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", "").rstrip("/"))


def methods_of(app: FastAPI, scope: Scope) -> set[str]:
    """All methods that the path of a request supports; empty if no route has it."""
    path = route_path(scope)
    routes = [each for each in iter_route_contexts(app.routes) if path in {each.path, EVERY_PATH}]
    methods = {method for route in routes for method in route.methods or ()}
    if not methods:
        return set()
    return methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
