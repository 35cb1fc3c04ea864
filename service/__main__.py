"""The service's composition root: the only module that builds its objects, in one place from top to bottom."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI

from leeway.keys import KeyRing, KeysError
from leeway.model import bundle as bundles
from leeway.model.bundle import Bundle
from leeway.model.manifest import BundleError
from leeway.settings import ServiceSettings, SettingsError
from leeway.shutdown import cannot_start, force_exit_if_threads_remain
from leeway.store.engine import DatabaseError, create_tables, open_engine
from leeway.store.predictions import PredictionLog
from leeway.store.rejections import RejectionLog
from leeway.store.snapshots import Snapshots
from leeway.store.tables import tables_for
from leeway.telemetry import names
from leeway.telemetry.environment import TelemetryError, serves_metrics
from leeway.telemetry.instruments import histogram, observe
from leeway.telemetry.process import observe_process
from leeway.telemetry.providers import ProcessIdentity, Providers, providers_from_environment
from service.app import create_app
from service.core.faults import FaultSwitch, FaultySnapshots, with_faulty_scorer
from service.core.feedback import Feedback
from service.core.outages import FailFastSnapshots
from service.core.predictor import Predictor, SnapshotSource
from service.core.readiness import check_readiness
from service.core.recording import Recorder
from service.core.rejections import RejectionTally, RejectionWriter
from service.http.fast_path import FastPath
from service.http.keys import Gate
from service.http.limits import RequestLimits
from service.process.drainer import DrainerProcess
from service.process.server import run, server_config, tls_files, tune_interpreter
from service.process.workers import COMMAND
from service.spool.monitor import DrainerMonitor
from service.spool.reader import SpoolReader
from service.spool.spool import Spool, SpoolError
from service.telemetry.http_instrumentation import instrument
from service.telemetry.otel import (
    OTelFaultProbe,
    OTelKeyProbe,
    OTelPredictionProbe,
    observe_drainer,
    observe_score_reference,
    observe_spool,
)
from service.telemetry.probe import KeyProbe, PredictionProbe
from service.telemetry.requests import request_probe

DRAIN_TIMEOUT_S = 1.0
REJECTIONS_TIMEOUT_S = 0.5
STARTUP_ERRORS = (BundleError, SpoolError, DatabaseError, TelemetryError, SettingsError, KeysError, OSError)
_log = logging.getLogger("service")


@dataclass(frozen=True)
class Service:
    """The application, and what handles requests in front of it."""

    app: FastAPI
    predictor: Predictor
    fast_path: FastPath | None
    limits: RequestLimits


def serve(settings: ServiceSettings, listener: socket.socket, worker: int | None = None) -> int:
    """Serve on `listener` until SIGTERM or SIGINT; return 0, or 2 with one line on stderr if it cannot start."""
    with ExitStack() as stack:
        try:
            tls = tls_files(settings.certificate, settings.key)
            service, record_lag = compose(settings, stack, worker)
            if worker is None:  # else the supervisor of all workers runs it
                stack.enter_context(DrainerProcess(settings))
        except STARTUP_ERRORS as error:
            return cannot_start(COMMAND, str(error))
        tune_interpreter()
        run(server_config(service.app, service.fast_path, service.limits, tls), listener, record_lag)
    force_exit_if_threads_remain(0)
    return 0


def compose(
    settings: ServiceSettings, stack: ExitStack, worker: int | None = None
) -> tuple[Service, Callable[[float], None] | None]:
    """Build all objects; return the service and what records the event loop's lag. `stack` closes them, telemetry last.

    Raises:
        one of STARTUP_ERRORS: the service cannot start; the message says why.
    """
    instance = f"{socket.gethostname()}-{os.getpid()}" + ("" if worker is None else f"-{worker}")
    providers = stack.enter_context(
        providers_from_environment(
            ProcessIdentity("leeway-service", version("leeway"), instance),
            metrics_endpoint=serves_metrics(settings.metrics_endpoint),
            spans_file=settings.spans_file,
        )
    )
    record_lag = None
    if providers.enabled:
        observe_process(providers.meter)
        record_lag = histogram(providers.meter, names.EVENT_LOOP_LAG).record
    return assemble(settings, providers, stack, is_first=not worker), record_lag


def assemble(settings: ServiceSettings, providers: Providers, stack: ExitStack, *, is_first: bool = True) -> Service:
    """Build everything but the providers and the drainer, which is another process.

    Of several workers only the first reports on the spool that they share.

    Raises:
        As `compose`.
    """
    gate = _gate(settings.api_keys_file, providers) if settings.api_keys_file else None
    bundle = bundles.load(settings.bundle)
    tables = tables_for(bundle.schema)
    engine = open_engine(settings.database_url)
    stack.callback(engine.dispose)
    try:
        create_tables(engine, tables)
    except DatabaseError as error:
        _log.warning("the database is unreachable; customers cannot be looked up until it is back: %s", error)
    log, snapshots = PredictionLog(engine, tables), Snapshots(engine, tables)

    fsync_always = settings.spool_fsync == "always"
    spool = stack.enter_context(
        Spool(settings.spool, bundle.schema, limit_bytes=settings.spool_limit, fsync_always=fsync_always)
    )
    monitor = DrainerMonitor(settings.spool)
    stack.callback(monitor.stop, DRAIN_TIMEOUT_S, SpoolReader(settings.spool).is_empty)
    tally = RejectionTally(bundle.schema.names)
    rejections = RejectionWriter(tally, RejectionLog(engine, tables))
    rejections.start()
    stack.callback(rejections.stop, REJECTIONS_TIMEOUT_S)

    if providers.enabled and is_first:
        observe_spool(providers.meter, spool)
        observe_drainer(providers.meter, monitor)
    probe = _prediction_probe(providers, bundle)
    faults = _fault_switch(providers) if settings.faults else None
    recorder = Recorder(spool, probe, required=settings.recording == "required")
    predictor = _predictor(bundle, FailFastSnapshots(snapshots), recorder, probe, faults)
    app = create_app(
        predictor,
        Feedback(log),
        bundle,
        partial(check_readiness, spool, log, monitor.is_alive),
        probe,
        tally,
        metrics_text=providers.metrics_text,
        faults=faults,
        faults_hosts=frozenset(settings.faults_hosts.lower().replace(",", " ").split()),
        root_path=settings.root_path,
        gate=gate,
    )
    http = instrument(app, providers)
    limits = RequestLimits(
        settings.request_timeout,
        settings.requests_in_flight,
        http.rejected if http else _ignore_rejected,
        root_path=settings.root_path,
    )
    requests = request_probe(providers, http, probe, bundle.version)
    fast_path = None
    if requests is not None:
        is_open = (lambda: True) if faults is None else (lambda: faults.active() is None)
        fast_path = FastPath(bundle, predictor, requests, is_open=is_open, gate=gate, root_path=settings.root_path)
    return Service(app, predictor, fast_path, limits)


def _ignore_rejected(*_: object) -> None:
    """Do not report rejected requests: telemetry is off."""


def _prediction_probe(providers: Providers, bundle: Bundle) -> PredictionProbe:
    if not providers.enabled:
        return PredictionProbe()
    observe_score_reference(providers.meter, bundle)
    return OTelPredictionProbe(providers.tracer, providers.meter, bundle.card, bundle.schema.names)


def _gate(path: Path, providers: Providers) -> Gate:
    if not providers.enabled:
        return Gate(KeyRing(path), KeyProbe())
    probe = OTelKeyProbe()
    observe(providers.meter, names.API_KEY_REQUESTS, probe.counts)
    return Gate(KeyRing(path), probe)


def _fault_switch(providers: Providers) -> FaultSwitch:
    faults = FaultSwitch(OTelFaultProbe())
    observe(providers.meter, names.FAULT_ACTIVE, faults.gauge)
    _log.warning("LEEWAY_FAULTS=on: any client of this service can inject faults into it")
    return faults


def _predictor(
    bundle: Bundle, snapshots: SnapshotSource, recorder: Recorder, probe: PredictionProbe, faults: FaultSwitch | None
) -> Predictor:
    if faults is not None:
        bundle, snapshots = with_faulty_scorer(bundle, faults), FaultySnapshots(snapshots, faults)
    return Predictor(bundle, snapshots, recorder, probe)
