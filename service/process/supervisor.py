"""The process that keeps the port and watches over those that answer: it imports nothing that they alone need."""

from __future__ import annotations

import socket

from leeway.settings import ServiceSettings
from leeway.telemetry.environment import instance_is_given, serves_metrics
from leeway.telemetry.logs import configure_logging
from service.process.workers import cannot_start, defer_stop_signals, listen, run_workers


def supervise(settings: ServiceSettings, workers: int = 1) -> int:
    """Serve in so many processes until SIGTERM or SIGINT, as `service.__main__.main` does in this one.

    The port stays open while a process that was killed is replaced: who asks meanwhile waits.
    """
    configure_logging()
    defer_stop_signals()
    if workers > 1 and (reason := only_one(settings)):
        return cannot_start(reason)
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        return cannot_start(str(error.strerror))
    with listener:
        return run_workers(workers, _serve, settings, listener)


def _serve(settings: ServiceSettings, listener: socket.socket, worker: int) -> int:
    from service.__main__ import serve  # noqa: PLC0415 (some 50 MiB, for those that answer)

    return serve(settings, listener, worker)


def only_one(settings: ServiceSettings) -> str | None:
    """Why there cannot be several workers, and the way out; None where there can."""
    if settings.faults:
        return (
            "a fault would strike in one of several workers only, whichever took the request that switched it on: leave"
            " LEEWAY_FAULTS out, or use one worker"
        )
    if serves_metrics(settings.metrics_endpoint):
        return (
            "each of several workers would answer /metrics with its own numbers: set OTEL_EXPORTER_OTLP_ENDPOINT, so"
            " that a Collector adds them up, or LEEWAY_METRICS_ENDPOINT=off, or use one worker"
        )
    if instance_is_given():
        return (
            "several workers under one service.instance.id would overwrite each other's numbers: leave it out of"
            " OTEL_RESOURCE_ATTRIBUTES, or use one worker"
        )
    return None
