"""The drift worker's composition root: the one place where its objects are built."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version

from drift.evaluation import MakePage
from drift.inputs import BundleReloader, ServedPredictions, WindowReader
from drift.report.app import Address, ReportsPageError, serve_reports
from drift.report.folder import ReportError, ReportFolder
from drift.sources.arguments import ReferenceChoice
from drift.sources.errors import SourceError
from drift.sources.mapping import read_mapping
from drift.sources.reading import Limits
from drift.sources.windows import SourceWindows
from drift.telemetry.gauges import DriftGauges
from drift.telemetry.otel import OTelDriftProbe
from drift.telemetry.probe import DriftProbe
from drift.verdicts.confirmation import Policy
from drift.webhook import Webhook
from drift.worker import Cycle, run
from leeway.keys import KeyRing
from leeway.schema import CHURN_SCHEMA
from leeway.settings import DriftSettings
from leeway.shutdown import (
    cannot_start,
    force_exit_if_threads_remain,
    forced_exit_after,
    on_stop_signal,
)
from leeway.store.drift_runs import DriftLog
from leeway.store.engine import DatabaseError, Engine, open_engine
from leeway.store.tables import tables_for
from leeway.telemetry.environment import TelemetryError, serves_metrics
from leeway.telemetry.instruments import observe
from leeway.telemetry.process import observe_process
from leeway.telemetry.providers import ProcessIdentity, Providers, providers_from_environment

LAST_CYCLE_S = 2.0
SHUTDOWN_TIMEOUT_S = 9.0
STARTUP_ERRORS = (DatabaseError, TelemetryError, ReportsPageError, SourceError, OSError, ValueError)
_log = logging.getLogger("drift")


def main(settings: DriftSettings) -> int:
    """Compare until SIGTERM or SIGINT; return the exit code: 0, or 2 if the worker cannot start.

    The command configures logging, defers stop signals and checks `OTEL_*` before it imports this module.
    """
    stop = threading.Event()
    with ExitStack() as shutdown, ExitStack() as stack:
        try:
            cycle = compose(settings, stack)
        except STARTUP_ERRORS as error:
            return cannot_start("leeway drift worker", str(error))
        worker = threading.Thread(target=_work, args=(cycle, stop, settings.drift_interval), name="worker")
        worker.start()
        with on_stop_signal(stop.set):
            stop.wait()
        shutdown.enter_context(forced_exit_after(SHUTDOWN_TIMEOUT_S))  # exports and the database may hang
        worker.join(LAST_CYCLE_S)  # then a running cycle is abandoned: its results appear completely or not at all
    force_exit_if_threads_remain(0)
    return 0


def _work(cycle: Callable[[], None], stop: threading.Event, interval_s: float) -> None:
    try:
        run(cycle, stop, interval_s)
    finally:
        stop.set()  # without this thread the process would look alive and do nothing


def compose(settings: DriftSettings, stack: ExitStack) -> Callable[[], None]:
    """Build the object graph, serve the reports page, and return the cycle; `stack` closes everything again.

    Raises:
        one of STARTUP_ERRORS: something that the worker needs is missing; the message says what.
    """
    providers = stack.enter_context(
        providers_from_environment(
            ProcessIdentity("leeway-drift", version("leeway"), "drift"),
            metrics_endpoint=serves_metrics(settings.metrics_endpoint),
            spans_file=settings.spans_file,
        )
    )
    engine = open_engine(settings.database_url)
    stack.callback(engine.dispose)
    reports = ReportFolder(settings.reports, settings.reports_keep, trace_url=settings.trace_url)
    _prepare(reports)
    text = providers.metrics_text
    page = serve_reports(
        reports,
        settings.reports_host,
        settings.reports_port,
        metrics_text=text and (lambda: text()[0]),
        keys=KeyRing(settings.api_keys_file) if settings.api_keys_file else None,
        is_open=settings.allow_anonymous,
    )
    address = stack.enter_context(page)
    links_to = _reports_url(settings, address)
    webhook = Webhook(settings.webhook_url, source=links_to) if settings.webhook_url else None
    if webhook is not None:
        stack.callback(webhook.close)
    _log.info("reports on %s", address.url, extra={"url": address.url})
    drift_log = DriftLog(engine, tables_for(CHURN_SCHEMA))
    return Cycle(
        _windows(settings, engine, drift_log),
        drift_log,
        reports,
        _probe(providers, settings, links_to),
        window_s=settings.drift_window,
        min_subjects=settings.drift_min_rows,
        policy=Policy(
            threshold=settings.drift_threshold,
            breaches=settings.drift_breaches,
            cooldown_s=settings.drift_cooldown,
            min_labels=settings.drift_min_labels,
        ),
        webhook=webhook,
        make_page=evidently() if settings.drift_report else None,
    )


def _windows(settings: DriftSettings, engine: Engine, drift_log: DriftLog) -> WindowReader:
    """Reads the source, or without one the predictions of Leeway's own service."""
    if settings.source is None:
        return ServedPredictions(BundleReloader(settings.bundle, engine), max_labels=settings.drift_labels)
    limits = Limits(settings.max_rows, settings.drift_labels)
    return SourceWindows(
        settings.source,
        read_mapping(settings.mapping),
        ReferenceChoice(settings.reference, settings.bundle, limits, settings.by),
        limits=limits,
        timeout_s=settings.source_timeout,
        drift_log=drift_log,
        release_runs=engine.dispose,
    )


def evidently() -> MakePage:
    """Evidently's page; what it needs is imported here, because it takes half of the worker's memory."""
    from drift.comparison.evidently import evidently_page  # noqa: PLC0415 (not without the page)

    return evidently_page


def _prepare(reports: ReportFolder) -> None:
    """Remove temporary files of a killed process, and write a first page."""
    reports.sweep()
    try:
        reports.write_index()
    except (ReportError, OSError) as error:
        _log.warning("reports cannot be written yet, so drift will be unknown: %s", error)


def _reports_url(settings: DriftSettings, address: Address) -> str:
    """The base of links to reports: the setting, or by default this machine and the bound port."""
    return settings.reports_url if "reports_url" in settings.model_fields_set else f"http://127.0.0.1:{address.port}"


def _probe(providers: Providers, settings: DriftSettings, links_to: str) -> DriftProbe:
    if not providers.enabled:
        return DriftProbe()
    gauges = DriftGauges(settings.drift_threshold, None, settings.drift_interval)
    for metric, read in gauges.readings().items():
        observe(providers.meter, metric, read)
    observe_process(providers.meter)
    return OTelDriftProbe(providers.tracer, providers.meter, gauges, lambda run_id: f"{links_to}/runs/{run_id}/")
