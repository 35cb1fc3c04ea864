"""Runs Uvicorn on an open socket until a stop signal, and measures how late its event loop is."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import ssl
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import uvicorn
from fastapi import FastAPI

from leeway.listener import url_of
from leeway.settings import SettingsError
from leeway.shutdown import on_stop_signal
from service.http.fast_path import FastPath
from service.http.limits import RequestLimits
from service.http.protocol import ServiceProtocol
from service.telemetry.http_instrumentation import Utf8Headers

SHUTDOWN_GRACE_S = 4
LAG_INTERVAL_S = 0.25
SWITCH_INTERVAL_S = 0.0001
"""How long a background thread may hold the interpreter lock; a request waits for it several times."""
GC_THRESHOLD = 10_000
"""Net allocations before a young collection; with Python's default of 700 a batch waits for eight collections."""
_log = logging.getLogger("service")


@dataclass(frozen=True)
class TlsFiles:
    """PEM files with a certificate and its chain, and with its key; without `key`, the first file holds it, too."""

    certificate: Path
    key: Path | None = None


def tls_files(certificate: Path | None, key: Path | None) -> TlsFiles | None:
    """The files of a server for HTTPS, once they were loaded; None without a certificate.

    Raises:
        SettingsError: they cannot be used, or a key lacks its certificate.
    """
    if certificate is None:
        if key is not None:
            raise SettingsError(f"LEEWAY_KEY={key}: set LEEWAY_CERTIFICATE as well, to serve HTTPS")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SettingsError(
            f"LEEWAY_CERTIFICATE={certificate}, LEEWAY_KEY={key or ''}: {reason};"
            " give PEM files of a certificate and of its key, without a password"
        ) from error
    return TlsFiles(certificate, key)


def server_config(
    app: FastAPI, fast_path: FastPath | None, limits: RequestLimits, tls: TlsFiles | None = None
) -> uvicorn.Config:
    """Uvicorn's configuration: it logs neither requested URLs nor the addresses that clients claim to come from."""
    protocol: Any = partial(ServiceProtocol, fast_path=fast_path, limits=limits)
    return uvicorn.Config(
        Utf8Headers(app),
        http=protocol,
        access_log=False,
        log_config=None,
        proxy_headers=False,
        timeout_graceful_shutdown=SHUTDOWN_GRACE_S,
        lifespan="off",
        ws="none",
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )


def tune_interpreter() -> None:
    """Trade throughput of background threads for the latency of requests; call it once the app is built."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.collect()
    gc.freeze()  # objects that exist now stay: no collection scans them while requests wait
    gc.set_threshold(GC_THRESHOLD)
    gc.enable()  # its caller may have disabled it for the start


def run(config: uvicorn.Config, listener: socket.socket, record_lag: Callable[[float], None] | None) -> None:
    """Answer requests on `listener` until SIGTERM or SIGINT; `record_lag` receives the event loop's lag in seconds."""
    server = uvicorn.Server(config)

    async def serve() -> None:
        lag = asyncio.create_task(measure_lag(record_lag), name="loop lag") if record_lag else None
        await server.serve(sockets=[listener])
        if lag is not None:
            lag.cancel()

    url = url_of(listener, "https" if server.config.is_ssl else "http")
    _log.info("serving on %s, docs at %s/docs", url, url, extra={"url": url})
    with (
        on_stop_signal(lambda: setattr(server, "should_exit", True)),
        asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner,
    ):
        runner.run(serve())


async def measure_lag(record: Callable[[float], None], interval_s: float = LAG_INTERVAL_S) -> NoReturn:
    """Call `record` every `interval_s` with the seconds by which the event loop was late, until cancelled."""
    while True:
        due_s = time.perf_counter() + interval_s
        await asyncio.sleep(interval_s)
        record(max(0.0, time.perf_counter() - due_s))
