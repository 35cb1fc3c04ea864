"""The drift worker's composition root: the only place where its objects are built, from top to bottom of one page."""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version

from drift.confirmation import Policy
from drift.gauges import DriftGauges
from drift.live import BundleWatch
from drift.otel_probe import OTelDriftProbe
from drift.probe import DriftProbe, NullDriftProbe
from drift.reports import ReportFolder
from drift.web import ReportsPageError, serve_reports
from drift.webhook import Webhook
from drift.worker import Cycle, Extent, run
from leeway.bundle import BundleError
from leeway.database import DatabaseError, open_engine
from leeway.drift_log import DriftLog
from leeway.schema import CHURN_SCHEMA
from leeway.settings import DriftSettings, SettingsError
from leeway.tables import tables_for
from leeway.telemetry.instruments import observe
from leeway.telemetry.logs import configure_logging
from leeway.telemetry.providers import (
    ProcessIdentity,
    Providers,
    TelemetryError,
    providers_from_environment,
    serves_metrics,
)

LAST_CYCLE_S = 4.0
STARTUP_ERRORS = (BundleError, DatabaseError, TelemetryError, ReportsPageError, SettingsError, OSError, ValueError)
_log = logging.getLogger("drift")


def main(settings: DriftSettings) -> int:
    """Compare until SIGTERM or SIGINT; return the exit code: 0, or 2 where the worker cannot start and says why."""
    configure_logging()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with ExitStack() as stack:
        try:
            cycle = compose(settings, stack)
        except STARTUP_ERRORS as error:
            sys.stderr.write(f"leeway drift worker: {error}\n")
            return 2
        # A cycle under way is given a moment, and then left: what it writes appears whole or not at all.
        worker = threading.Thread(target=run, args=(cycle, stop, settings.drift_interval), name="worker", daemon=True)
        worker.start()
        stop.wait()
        worker.join(LAST_CYCLE_S)
    return 0


def compose(settings: DriftSettings, stack: ExitStack) -> Callable[[], None]:
    """Build the whole object graph, serve the reports page, and return the cycle; `stack` takes it all down again.

    Raises:
        one of STARTUP_ERRORS: what the worker needs is not there; the message says what.
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
    reports.write_index()
    text = providers.metrics_text
    page = serve_reports(
        reports, settings.reports_host, settings.reports_port, metrics_text=text and (lambda: text()[0])
    )
    address = stack.enter_context(page)
    _log.info("reports on %s", address.url, extra={"url": address.url})
    webhook = Webhook(settings.webhook_url, source=settings.reports_url) if settings.webhook_url else None
    if webhook is not None:
        stack.callback(webhook.close)
    return Cycle(
        BundleWatch(settings.bundle, engine),
        DriftLog(engine, tables_for(CHURN_SCHEMA)),
        reports,
        _probe(providers, settings),
        extent=Extent(
            window_s=settings.drift_window,
            min_subjects=settings.drift_min_rows,
            max_subjects=settings.drift_max_rows,
            max_labels=settings.drift_labels,
        ),
        policy=Policy(
            threshold=settings.drift_threshold,
            breaches=settings.drift_breaches,
            cooldown_s=settings.drift_cooldown,
            min_labels=settings.drift_min_labels,
        ),
        webhook=webhook,
    )


def _probe(providers: Providers, settings: DriftSettings) -> DriftProbe:
    if not providers.enabled:
        return NullDriftProbe()
    gauges = DriftGauges(settings.drift_threshold, {}, settings.drift_interval)
    for metric, read in gauges.readings().items():
        observe(providers.meter, metric, read)
    return OTelDriftProbe(
        providers.tracer, providers.meter, gauges, lambda run_id: f"{settings.reports_url}/runs/{run_id}/"
    )


if __name__ == "__main__":
    sys.exit(main(DriftSettings.read()))
