"""One cycle, from the window of served predictions to its published result, and the loop around it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Event

import msgspec
import uuid_utils

from drift.evaluation import Evaluation, MakePage, evaluate
from drift.inputs import MonitoredModel, WindowReader
from drift.report.folder import ReportError, ReportFolder
from drift.result import Reports, ResultError, RunResult, read_result
from drift.sources.errors import SourceError
from drift.telemetry.probe import DriftProbe, RunProbe
from drift.verdicts.confirmation import Policy, State
from drift.webhook import Webhook
from leeway.model.manifest import BundleError
from leeway.store.drift_runs import DriftLog, DriftRun
from leeway.store.engine import DatabaseError

TOO_FEW_ROWS, OTHER = "too_few_rows", "other"
_log = logging.getLogger(__name__)


@dataclass
class Cycle:
    """Compares one window a call, and keeps between calls what has to be confirmed. Call it from one thread.

    It compares `window_s` seconds of predictions. Without `make_page` there is no page of Evidently.
    """

    windows: WindowReader
    drift_log: DriftLog
    reports: ReportFolder
    probe: DriftProbe
    _: KW_ONLY
    window_s: float
    min_subjects: int
    policy: Policy
    webhook: Webhook | None = None
    make_page: MakePage | None = None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _restored: bool = field(default=False, init=False)
    _state: State | None = field(default=None, init=False)
    _last_recommendation: str | None = field(default=None, init=False)
    _last_warning: str = field(default="", init=False)

    def __call__(self) -> None:
        """Compare the last window. A failure is an UNKNOWN run with its reason, and the next cycle tries again."""
        end = self.now()
        start = end - timedelta(seconds=self.window_s)
        run_id = str(uuid_utils.uuid7())
        with self.probe.run(run_id, start, end) as run:
            try:
                self._evaluate(run, run_id, start, end)
            except Exception as error:  # noqa: BLE001 (the loop's boundary: the next cycle tries again)
                kind = next((kind for each, kind in _KINDS.items() if isinstance(error, each)), OTHER)
                if kind == "database":
                    self.windows.invalidate()
                self._unknown(run, kind, str(error) or type(error).__name__, error)
            finally:
                self.windows.release()

    def _unknown(self, run: RunProbe, kind: str, reason: str, error: Exception | None = None) -> None:
        """Count it, and log it if it differs from the last warning: a long outage is logged once."""
        warning = kind if kind == TOO_FEW_ROWS else f"{kind}: {reason}"
        if warning != self._last_warning:
            _log.warning("drift is unknown: %s", reason, exc_info=error if kind == OTHER else None)
        self._last_warning = warning
        run.unknown(kind, reason)

    def _evaluate(self, run: RunProbe, run_id: str, start: datetime, end: datetime) -> None:
        with run.stage("load reference"):
            model = self.windows.load()
            if model.card is not None:
                self.probe.active_bundle(model.card)
            self._restore(model)
        with run.stage("load window"):
            inputs = self.windows.read(start, end)
        run.links_to(inputs.unusual)
        evaluation = evaluate(
            inputs,
            self.policy,
            self._state,
            min_subjects=self.min_subjects,
            run_id=run_id,
            reports=Reports(f"runs/{run_id}/report.html", f"runs/{run_id}/report.json"),
            probe=run,
            make_page=self.make_page,
        )
        with run.stage("publish"):
            self._publish(run, evaluation, start, end)

    def _publish(self, run: RunProbe, evaluation: Evaluation, start: datetime, end: datetime) -> None:
        """Write the report, then the row, then notify. The state changes only once the row is stored."""
        result, page = evaluation.result, evaluation.page
        if evaluation.report or self._last_warning != TOO_FEW_ROWS:  # of runs with too few rows only the first
            self.reports.write(result, *((page.write_html, page.write_json) if page else ()))
            self.reports.prune()
            self.reports.write_index()
            run.reported()
        self.drift_log.save(_row(evaluation, start, end, self.now()))
        self._state = evaluation.state
        if evaluation.report is None:
            self._unknown(run, TOO_FEW_ROWS, result.reason)
        else:
            self._last_warning = ""
            _log.info("%s at a drift share of %.2f: %s", result.recommendation, result.share, result.reason)
            run.finished(result)
            self._notify(result)

    def _notify(self, result: RunResult) -> None:
        """Post a changed recommendation. UNKNOWN is not a recommendation: alerts cover it."""
        before, self._last_recommendation = self._last_recommendation, result.recommendation
        if before == result.recommendation or (before is None and result.recommendation == "NO_ACTION"):
            return
        if self.webhook is not None:
            self.webhook.notify(result, before)

    def _restore(self, model: MonitoredModel) -> None:
        """After a start, continue from the last run's state, recommendation and result."""
        if self._restored:
            return
        last, compared = self.drift_log.last(model.name), self.drift_log.last(model.name, seen=True)
        self._last_recommendation = compared.recommendation if compared else None
        if last is not None:
            try:
                self._state = msgspec.convert(last.state, State)
            except msgspec.ValidationError as error:
                _log.warning("the last run's state cannot be read, so confirmation starts again: %s", error)
        if compared is not None and model.version in (None, compared.model_version):
            try:
                self.probe.restored(read_result(compared.result), compared.finished_at)
            except ResultError as error:
                _log.warning("the last run's result cannot be read, so the gauges start with the next run: %s", error)
        self._restored = True


_KINDS: Mapping[type[Exception], str] = {
    BundleError: "bundle",
    DatabaseError: "database",
    ReportError: "reports",
    SourceError: "source",
}
"""Kinds of UNKNOWN runs that a metric distinguishes, with `too_few_rows` and `other`."""


def _row(evaluation: Evaluation, start: datetime, end: datetime, now: datetime) -> DriftRun:
    result = evaluation.result
    return DriftRun(
        run_id=result.run_id,
        finished_at=now,
        model_name=result.model.name or "",
        model_version=result.model.version or "",
        window_from=start,
        window_to=end,
        rows=result.current.rows,
        subjects=result.current.subjects,
        share=result.share,
        decision=result.decision,
        recommendation=result.recommendation,
        reason=result.reason,
        result=msgspec.to_builtins(result),
        state=msgspec.to_builtins(evaluation.state),
        trace_id=result.trace_id,
    )


def run(cycle: Callable[[], None], stop: Event, interval_s: float) -> None:
    """Call `cycle` at once and then every `interval_s` seconds, until `stop` is set."""
    while True:
        cycle()
        if stop.wait(interval_s):
            return
