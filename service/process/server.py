"""Uvicorn on a socket that is open already, until a signal says stop."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from service.process.workers import on_stop
from service.telemetry.headers import ReadableHeaders
from service.telemetry.loop_lag import watched

GRACE_S = 4
_log = logging.getLogger("service")


def server_config(app: FastAPI) -> uvicorn.Config:
    """How Uvicorn serves `app`: no address that a client asked for comes into the log, nor one that it claims."""
    return uvicorn.Config(
        ReadableHeaders(app),
        access_log=False,
        log_config=None,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_S,
        lifespan="off",
        ws="none",
    )


def run(app: FastAPI, listener: socket.socket, record_lag: Callable[[float], None] | None) -> None:
    """Answer requests on `listener` until SIGTERM or SIGINT; `record_lag` takes the event loop's lag in seconds."""
    server = uvicorn.Server(server_config(app))

    async def answer() -> None:
        async with watched(record_lag):
            await server.serve(sockets=[listener])

    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    _log.info("serving on %s, docs at %s/docs", url, url, extra={"url": url})
    with (
        on_stop(lambda: setattr(server, "should_exit", True)),
        asyncio.Runner(loop_factory=server.config.get_loop_factory()) as loop,
    ):
        loop.run(answer())
