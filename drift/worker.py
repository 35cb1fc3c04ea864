"""One cycle, from the window of served predictions to its published result, and the loop round it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import TypeAlias

import uuid_utils

from drift.comparison.evidently import Comparison, compute_drift
from drift.comparison.findings import TooFewRows
from drift.inputs import ActiveBundle, BundleReloader, WindowData, read_window
from drift.report.folder import ReportError, ReportFolder
from drift.result import Document, Run, Side, result_document
from drift.telemetry.probe import DriftProbe, RunProbe
from drift.verdicts.confirmation import Policy, State
from drift.verdicts.verdicts import Judgement, Observation, judge
from drift.webhook import Webhook
from leeway.model.bundle import BundleError
from leeway.store.drift_runs import DriftLog, DriftRun
from leeway.store.engine import DatabaseError

TOO_FEW_ROWS, OTHER = "too_few_rows", "other"
Compare: TypeAlias = Callable[..., Comparison]  # as `drift.comparison.evidently.compute_drift`
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Extent:
    """How much one cycle looks at: seconds of predictions, subjects at least and at most, labels at most."""

    window_s: float
    min_subjects: int
    max_subjects: int
    max_labels: int


@dataclass(frozen=True)
class Compared:
    """What a cycle saw, judged: `comparison` is None where there was too little, and `served` says why."""

    served: WindowData
    comparison: Comparison | None
    judgement: Judgement
    document: Document


class Cycle:
    """One comparison after the other; keeps between them what has to be confirmed. Call it from one thread."""

    def __init__(
        self,
        watch: BundleReloader,
        drift_log: DriftLog,
        reports: ReportFolder,
        probe: DriftProbe,
        *,
        extent: Extent,
        policy: Policy,
        webhook: Webhook | None = None,
        compare: Compare = compute_drift,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._watch = watch
        self._drift_log = drift_log
        self._reports = reports
        self._probe = probe
        self._extent = extent
        self._policy = policy
        self._webhook = webhook
        self._compare = compare
        self._now = now
        self._restored = False
        self._state: State | None = None
        self._told: str | None = None
        self._said = ""

    def __call__(self) -> None:
        """Compare the last window. Whatever goes wrong is an UNKNOWN run with its reason, and the next cycle's turn."""
        end = self._now()
        start = end - timedelta(seconds=self._extent.window_s)
        run_id = str(uuid_utils.uuid7())
        with self._probe.run(run_id, start, end) as run:
            try:
                self._look(run, run_id, start, end)
            except Exception as error:  # noqa: BLE001 (the loop's boundary: the next cycle has its turn)
                kind = next((kind for each, kind in _KINDS.items() if isinstance(error, each)), OTHER)
                if kind == "database":
                    self._watch.forget()
                self._unknown(run, kind, str(error) or type(error).__name__, error)
            finally:
                self._watch.rest()

    def _unknown(self, run: RunProbe, kind: str, reason: str, error: Exception | None = None) -> None:
        """Count it, and log it where it is news: a quiet night and a long outage are told once."""
        news = kind if kind == TOO_FEW_ROWS else f"{kind}: {reason}"
        if news != self._said:
            _log.warning("drift is unknown: %s", reason, exc_info=error if kind == OTHER else None)
        self._said = news
        run.unknown(kind, reason)

    def _look(self, run: RunProbe, run_id: str, start: datetime, end: datetime) -> None:
        with run.stage("load reference"):
            in_force = self._watch.current()
            self._probe.in_force(in_force.bundle.card)
            self._restore(in_force)
        with run.stage("load window"):
            served = read_window(
                in_force, start, end, max_subjects=self._extent.max_subjects, max_labels=self._extent.max_labels
            )
        run.links_to(served.unusual)
        with run.stage("compare"):
            comparison, blind = self._measure(in_force, served)
        with run.stage("judge"):
            seen = Observation(
                in_force.bundle.version,
                start,
                end,
                report=comparison.report if comparison else None,
                blind=blind,
                rejections=served.rejections,
                performance=served.performance,
            )
            judgement = judge(seen, self._policy, self._state)
            document = self._document(run, run_id, in_force, served, comparison, judgement)
        with run.stage("publish"):
            self._publish(run, Compared(served, comparison, judgement, document))

    def _measure(self, in_force: ActiveBundle, served: WindowData) -> tuple[Comparison | None, str]:
        """The comparison, or None and why there is too little for one."""
        sides = in_force.reference, served.frame, in_force.bundle.schema, in_force.plan
        least, subjects = self._extent.min_subjects, served.window.subjects
        try:
            return self._compare(*sides, min_subjects=least, current_subjects=subjects), ""
        except TooFewRows as error:
            return None, str(error)

    def _document(
        self,
        run: RunProbe,
        run_id: str,
        in_force: ActiveBundle,
        served: WindowData,
        comparison: Comparison | None,
        judgement: Judgement,
    ) -> Document:
        window, bundle = served.window, in_force.bundle
        report = f"runs/{run_id}/report" if comparison else None
        return result_document(
            Run(
                run_id,
                Side(rows=len(in_force.reference), subjects=len(in_force.reference)),
                Side(window.start, window.end, window.rows, window.subjects),
                model_name=bundle.name,
                model_version=bundle.version,
                html=report and f"{report}.html",
                json=report and f"{report}.json",
                trace_id=run.trace_id,
            ),
            judgement,
            self._policy.threshold,
            report=comparison.report if comparison else None,
            performance=served.performance,
            target=served.target,
        )

    def _publish(self, run: RunProbe, seen: Compared) -> None:
        """Write the report, then the row, then tell. The state moves only when the row is there."""
        document, judgement = seen.document, seen.judgement
        blind = seen.comparison is None
        if not blind or self._said != TOO_FEW_ROWS:  # a quiet night leaves one page, not five hundred
            self._write_report(document, seen.comparison)
            run.reported()
        self._drift_log.save(_row(document, judgement, seen.served, self._now()))
        self._state = judgement.state
        if blind:
            self._unknown(run, TOO_FEW_ROWS, judgement.reason)
        else:
            self._said = ""
            _log.info("%s at a drift share of %.2f: %s", judgement.recommendation, document["share"], judgement.reason)
            run.finished(document)
            self._tell(document)

    def _write_report(self, document: Document, comparison: Comparison | None) -> None:
        html, json = (comparison.write_html, comparison.write_json) if comparison else (None, None)
        self._reports.write(document["run_id"], document, html, json)
        self._reports.prune()
        self._reports.write_index()

    def _tell(self, document: Document) -> None:
        """Post a changed recommendation. UNKNOWN is no recommendation: alerts are for that."""
        before, self._told = self._told, str(document["recommendation"])
        if self._webhook is not None and before != self._told and (before is not None or self._told != "NO_ACTION"):
            self._webhook.tell(document, before)

    def _restore(self, in_force: ActiveBundle) -> None:
        """After a start, take up what the last run left: its state, its recommendation, and its result."""
        if self._restored:
            return
        last = self._drift_log.last(in_force.bundle.name)
        seen = self._drift_log.last(in_force.bundle.name, seen=True)
        if last is not None:
            try:
                self._state = State.from_json(last.state)
            except ValueError as error:
                _log.warning("the last run's state cannot be read, so confirmation begins anew: %s", error)
        if seen is not None:
            self._told = seen.recommendation
            if seen.model_version == in_force.bundle.version:
                self._probe.restored(seen.result, seen.finished_at)
        self._restored = True


_KINDS: Mapping[type[Exception], str] = {BundleError: "bundle", DatabaseError: "database", ReportError: "reports"}
"""Reasons for UNKNOWN that a metric tells apart, beside `too_few_rows` and `other`."""


def _row(document: Document, judgement: Judgement, served: WindowData, now: datetime) -> DriftRun:
    return DriftRun(
        run_id=document["run_id"],
        finished_at=now,
        model_name=document["model"]["name"],
        model_version=document["model"]["version"],
        window_from=served.window.start,
        window_to=served.window.end,
        rows=served.window.rows,
        subjects=served.window.subjects,
        share=document["share"],
        decision=judgement.decision,
        recommendation=judgement.recommendation,
        reason=judgement.reason,
        result=document,
        state=judgement.state.to_json(),
        trace_id=document["trace_id"],
    )


def run(cycle: Callable[[], None], stop: Event, interval_s: float) -> None:
    """Call `cycle` at once and then every `interval_s` seconds, until `stop` is set."""
    while True:
        cycle()
        if stop.wait(interval_s):
            return
