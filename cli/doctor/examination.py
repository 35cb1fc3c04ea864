"""The whole examination: who answers, then one marked prediction and where it arrives, then what it all stands on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, TypeVar

from cli.doctor import machine, metrics, service, storage, traces
from cli.doctor.asking import QUESTION_S, Deadline, EndpointError
from cli.doctor.finding import Finding
from cli.doctor.metrics import Counts
from cli.doctor.places import answers, places
from cli.doctor.service import Sent, Served
from cli.doctor.storage import Store
from leeway.settings import DoctorSettings

T = TypeVar("T")
Check: TypeAlias = Callable[[], Finding]
AT_ONCE = 16
ARRIVALS = ("row", "trace", "metric")
SIGNAL_S = 30.0


@dataclass(frozen=True)
class Examination:
    """What was found, in three parts, and the prediction that was asked for (None where it was not)."""

    answering: tuple[Finding, ...]
    arriving: tuple[Finding, ...]
    standing: tuple[Finding, ...]
    sent: Sent | None
    took_s: float

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them."""
        return (*self.answering, *self.arriving, *self.standing)

    @property
    def is_well(self) -> bool:
        """Whether no check failed."""
        return all(each.state != "failed" for each in self.findings)


def examine(settings: DoctorSettings, wait_s: float | None = None) -> Examination:
    """Examine all at once, as far as one thing need not wait for another.

    A signal may take `wait_s` to arrive, an answer no longer than that and no longer than `QUESTION_S`. Where nobody
    says how long, it is `SIGNAL_S`, and for metrics as long as the service's export takes.
    """
    signal_s = SIGNAL_S if wait_s is None else wait_s
    metric_s = metrics.wait_s(settings, signal_s) if wait_s is None else wait_s
    began_s, question_s = time.monotonic(), min(QUESTION_S, signal_s)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="doctor") as pool:
        meeting = pool.submit(_pair, "service", partial(service.meet, settings.url, question_s))
        opening = pool.submit(_pair, "database", partial(storage.open_store, settings))
        counting = pool.submit(_counted, settings, question_s)
        told = pool.submit(metrics.versions, settings, question_s)
        others = _start(pool, {each.check: partial(answers, each, question_s) for each in places(settings)})
        beside = _start(
            pool,
            {
                "scrapes": partial(metrics.targets, settings, question_s),
                "disk": partial(machine.disk, settings),
                "ports": partial(machine.ports, machine.addresses(settings), question_s),
            },
        )
        (met, served), (opened, store) = meeting.result(), opening.result()
        answering = [met, *(each.result() for each in others.values()), opened]
        arriving, sent = _Arrivals(settings, signal_s, metric_s, question_s, pool).watch(
            served, store, counting.result()
        )
        run = _last_run(settings, store, served, answering)
        return Examination(
            tuple(_with_version(each, told.result()) for each in answering),
            (*arriving, beside["scrapes"].result(), run),
            (machine.clocks(answering), beside["disk"].result(), beside["ports"].result()),
            sent,
            time.monotonic() - began_s,
        )


@dataclass(frozen=True)
class _Arrivals:
    """Asks for the marked prediction, and sees where it arrives."""

    settings: DoctorSettings
    signal_s: float
    metric_s: float
    question_s: float
    pool: ThreadPoolExecutor

    def watch(
        self, served: Served | None, store: Store | None, counted: Counts | Exception
    ) -> tuple[list[Finding], Sent | None]:
        """What came of the prediction, and of each signal of it."""
        if served is None:
            reason = "not looked for: without the service there is none"
            return [Finding(each, "skipped", reason) for each in ("prediction", *ARRIVALS)], None
        written = traces.length(self.settings.spans_file)
        prediction, sent = _pair("prediction", partial(service.send, self.settings.url, served, self.question_s))
        if sent is None:
            reason = "not looked for: without a prediction there is none"
            return [prediction, *(Finding(each, "skipped", reason) for each in ARRIVALS)], None
        patience = Deadline(self.signal_s)
        row = Finding("row", "skipped", "not looked for: without the database there is none")
        look = partial(traces.arrival, self.settings, sent, written, self.question_s, patience)
        trace = self.pool.submit(_pair, "trace", look)  # it says which process's count is ours

        def metric() -> Finding:
            of_count = patience.of(self.metric_s)
            return metrics.risen(self.settings, counted, trace.result()[1], self.question_s, of_count)

        checks: dict[str, Check] = {
            "row": partial(storage.row, store, served, sent, patience) if store is not None else lambda: row,
            "trace": lambda: trace.result()[0],
            "metric": metric,
        }
        try:
            found = [each.result() for each in _start(self.pool, checks).values()]
        finally:
            patience.give_up()  # on Ctrl-C nobody waits on
        return [prediction, *found], sent


def _last_run(
    settings: DoctorSettings, store: Store | None, served: Served | None, answering: list[Finding]
) -> Finding:
    if store is None or served is None:
        return Finding("drift run", "skipped", "not looked for: that takes the service's model, and the database")
    worker_is_here = any(each.check == "drift worker" and each.state == "ok" for each in answering)
    look = partial(storage.last_run, store, served, settings.drift_interval, worker_is_here=worker_is_here)
    return _safely("drift run", look)


def _counted(settings: DoctorSettings, timeout_s: float) -> Counts | Exception:
    """The count before ours, or why there is none: it is told where the count after it is looked for."""
    try:
        return metrics.predictions_counted(settings, timeout_s)
    except (EndpointError, metrics.NoMetrics) as error:
        return error


def _start(pool: ThreadPoolExecutor, checks: Mapping[str, Check]) -> dict[str, Future[Finding]]:
    return {name: pool.submit(_safely, name, check) for name, check in checks.items()}


def _safely(name: str, check: Check) -> Finding:
    return _pair(name, lambda: (check(), None))[0]


def _pair(name: str, check: Callable[[], tuple[Finding, T | None]]) -> tuple[Finding, T | None]:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 (a check's boundary: it is told, and the others are made all the same)
        found = f"the check itself failed ({type(error).__name__}: {error})"
        return Finding(name, "failed", found, "tell the makers of Leeway: an answer was not as they expected it"), None


def _with_version(finding: Finding, told: Mapping[str, str]) -> Finding:
    """With what its process said of itself elsewhere; of one that does not answer that is no news."""
    is_there = finding.version is None and finding.state in {"ok", "warning"}
    return replace(finding, version=told.get(finding.check)) if is_there else finding
