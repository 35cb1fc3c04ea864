"""The API's composition root: the only place where its objects are built, from top to bottom of one page."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from importlib.metadata import version

from fastapi import FastAPI

from leeway.model import bundle as bundles
from leeway.model.bundle import Bundle, BundleError
from leeway.settings import ServiceSettings, SettingsError
from leeway.store.engine import DatabaseError, create_tables, open_engine
from leeway.store.predictions import PredictionLog
from leeway.store.rejections import RejectionLog
from leeway.store.snapshots import Snapshots
from leeway.store.tables import tables_for
from leeway.telemetry import names
from leeway.telemetry.environment import TelemetryError, serves_metrics
from leeway.telemetry.instruments import histogram, observe
from leeway.telemetry.logs import configure_logging
from leeway.telemetry.process import observe_process
from leeway.telemetry.providers import ProcessIdentity, Providers, providers_from_environment
from service.app import create_app
from service.core.faults import FaultSwitch, FaultySnapshots, with_faulty_scorer
from service.core.feedback import Feedback
from service.core.predictor import Predictor, SnapshotSource
from service.core.readiness import ReadinessCheck
from service.core.recording import Recorder
from service.core.rejections import RejectionTally, RejectionWriter, TallyingProbe
from service.process.server import run
from service.process.workers import cannot_start, defer_stop_signals, force_exit_if_threads_remain, listen
from service.spool.drainer import SpoolDrainer
from service.spool.spool import Spool, SpoolError
from service.spool.writer import database_writer
from service.telemetry.http_instrumentation import instrument
from service.telemetry.otel import OTelPredictionProbe
from service.telemetry.otel_drainer import OTelDrainerProbe
from service.telemetry.otel_faults import OTelFaultProbe
from service.telemetry.probe import NullPredictionProbe, PredictionProbe

SWITCH_S = 0.0005
"""How long the threads that export and move may keep the interpreter: a request waits for it several times."""
COLLECT_AFTER = 10_000
"""Objects made, less those freed, before a young collection: with 700, as Python has it, a batch waits for eight."""
DRAIN_S = 1.0
TALLY_S = 0.5
_log = logging.getLogger("service")

STARTUP_ERRORS = (BundleError, SpoolError, DatabaseError, TelemetryError, SettingsError, OSError)


def main(settings: ServiceSettings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit code: 0, or 2 where the service cannot start and says why."""
    configure_logging()
    defer_stop_signals()
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        return cannot_start(str(error.strerror))
    with listener:
        return serve(settings, listener)


def serve(settings: ServiceSettings, listener: socket.socket, worker: int | None = None) -> int:
    """Serve on `listener` until told to stop; return the exit code as `main` does."""
    sys.setswitchinterval(SWITCH_S)
    with ExitStack() as stack:
        try:
            app, record_lag = compose(settings, stack, worker)
        except STARTUP_ERRORS as error:
            return cannot_start(str(error))
        gc.collect()
        gc.freeze()  # what is built by now lives on: no collection goes through it while requests wait
        gc.set_threshold(COLLECT_AFTER)
        run(app, listener, record_lag)
    force_exit_if_threads_remain(0)
    return 0


def compose(
    settings: ServiceSettings, stack: ExitStack, worker: int | None = None
) -> tuple[FastAPI, Callable[[float], None] | None]:
    """Build the whole object graph, and what takes the event loop's lag; `stack` takes it down, telemetry last.

    Raises:
        leeway.model.bundle.BundleError, service.spool.spool.SpoolError, leeway.store.engine.DatabaseError,
        leeway.telemetry.environment.TelemetryError, OSError: what the service needs is not there; the message says
        what.
    """
    providers = stack.enter_context(
        providers_from_environment(
            _identity(worker),
            metrics_endpoint=serves_metrics(settings.metrics_endpoint),
            spans_file=settings.spans_file,
        )
    )
    record_lag = _observe_process(providers)
    return assemble(settings, providers, stack, is_first=not worker), record_lag


def _observe_process(providers: Providers) -> Callable[[float], None] | None:
    if not providers.enabled:
        return None
    observe_process(providers.meter)
    return histogram(providers.meter, names.EVENT_LOOP_LAG).record


def assemble(settings: ServiceSettings, providers: Providers, stack: ExitStack, *, is_first: bool = True) -> FastAPI:
    """Build what stands on the telemetry; of several workers the first one alone reports on the spool they share.

    Raises:
        As `compose`.
    """
    bundle = bundles.load(settings.bundle)
    tables = tables_for(bundle.schema)
    engine = open_engine(settings.database_url)
    stack.callback(engine.dispose)
    try:
        create_tables(engine, tables)
    except DatabaseError as error:
        _log.warning("the database is away, so customers cannot be looked up yet: %s", error)
    spool = stack.enter_context(_open_spool(settings, bundle))
    tally = RejectionTally(bundle.schema.names)
    probe = TallyingProbe(_probe(providers, bundle, spool, observes_spool=is_first), tally)
    mover = SpoolDrainer(spool, database_writer(engine), OTelDrainerProbe(providers.meter))
    mover.start()
    stack.callback(mover.stop, DRAIN_S)
    refused = RejectionWriter(tally, RejectionLog(engine, tables))
    refused.start()
    stack.callback(refused.stop, TALLY_S)
    recorder = Recorder(spool, probe, required=settings.recording == "required")
    log = PredictionLog(engine, tables)
    snapshots = Snapshots(engine, tables)
    faults = _allowed_faults(providers) if settings.faults else None
    app = create_app(
        _predictor(bundle, snapshots, recorder, probe, faults),
        Feedback(log),
        bundle,
        ReadinessCheck(spool, log),
        probe,
        metrics_text=providers.metrics_text,
        faults=faults,
        faults_hosts=frozenset(settings.faults_hosts.lower().replace(",", " ").split()),
    )
    instrument(app, providers)
    return app


def _predictor(
    bundle: Bundle, snapshots: SnapshotSource, recorder: Recorder, probe: PredictionProbe, faults: FaultSwitch | None
) -> Predictor:
    if faults is not None:
        bundle, snapshots = with_faulty_scorer(bundle, faults), FaultySnapshots(snapshots, faults)
    return Predictor(bundle, snapshots, recorder, probe)


def _allowed_faults(providers: Providers) -> FaultSwitch:
    faults = FaultSwitch(OTelFaultProbe())
    observe(providers.meter, names.FAULT_ACTIVE, faults.active)
    _log.warning("LEEWAY_FAULTS=on: whoever reaches this service can switch faults on in it")
    return faults


def _open_spool(settings: ServiceSettings, bundle: Bundle) -> Spool:
    always = settings.spool_fsync == "always"
    spool = Spool.open(settings.spool, bundle.schema, limit_bytes=settings.spool_limit, fsync_always=always)
    if spool.set_aside is not None:
        _log.error("the spool was damaged: set aside as %s, and a new one begun", spool.set_aside)
    return spool


def _identity(worker: int | None) -> ProcessIdentity:
    suffix = "" if worker is None else f"-{worker}"
    return ProcessIdentity("leeway-service", version("leeway"), f"{socket.gethostname()}-{os.getpid()}{suffix}")


def _probe(providers: Providers, bundle: Bundle, spool: Spool, *, observes_spool: bool) -> PredictionProbe:
    if not providers.enabled:
        return NullPredictionProbe()
    meter = providers.meter
    if observes_spool:
        observe(meter, names.LOG_BACKLOG, lambda: _of_spool(spool.backlog))
        observe(meter, names.SPOOL_SIZE, lambda: _of_spool(spool.size_bytes))
        observe(meter, names.SPOOL_LIMIT, lambda: [(spool.limit_bytes, {})])
    observe(meter, names.SCORE_REFERENCE, lambda: _score_reference(bundle))
    return OTelPredictionProbe(providers.tracer, meter, bundle.version, bundle.schema.names)


def _of_spool(read: Callable[[], int]) -> list[tuple[float, Mapping[str, str]]]:
    """The number, or a gap where the spool cannot be read: the last flush comes after it was closed."""
    try:
        return [(read(), {})]
    except SpoolError:
        return []


def _score_reference(bundle: Bundle) -> Iterable[tuple[float, Mapping[str, str]]]:
    reference = bundle.card.score_reference
    for bound, share in zip(reference.bounds, reference.shares, strict=True):
        yield share, {names.MODEL_VERSION: bundle.version, names.BUCKET_BOUND: str(bound)}


def _main() -> int:
    try:
        settings = ServiceSettings.read()
    except SettingsError as error:
        return cannot_start(str(error))
    return main(settings)


if __name__ == "__main__":
    sys.exit(_main())
