"""A quick way through FastAPI for bodies that are as they should be; every other body takes FastAPI's own way.

FastAPI reads JSON into Python objects, solves dependencies, and only then validates. For the two routes that carry
nearly all requests, the bytes are read at once, by the same models or the same limits. Where they are refused, the
content type is another, or the request has a header that a route is careful with (`leeway-synthetic`), nothing has
happened
yet: FastAPI's way runs as if this one were not there, says what is wrong, and reads the header.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect

Body = TypeVar("Body")


def quick_route(
    read: Callable[[bytes], Body], answer: Callable[[Body], Awaitable[Response]], *, careful_with: str | None = None
) -> type[APIRoute]:
    """A route class that hands a JSON body straight from `read`, which raises ValueError of a bad one, to `answer`.

    A request with the header `careful_with`, which few have, takes FastAPI's way: it reads headers.
    """

    class QuickRoute(APIRoute):
        """See `quick_route`."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """The quick way, and FastAPI's behind it."""
            careful = super().get_route_handler()

            async def handle(request: Request) -> Response:
                if request.headers.get("content-type") != "application/json":
                    return await careful(request)
                if careful_with is not None and careful_with in request.headers:
                    return await careful(request)
                try:
                    body = read(await request.body())
                except (ValueError, ClientDisconnect):  # of a client that went away FastAPI makes a 400
                    return await careful(request)
                return await answer(body)

            return handle

    return QuickRoute
