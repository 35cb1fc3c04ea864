"""Runs all checks: which endpoints answer, where the signals of one synthetic prediction arrive, and the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, TypeVar

from msgspec import structs

from cli.doctor import machine, metrics, service, storage, traces
from cli.doctor.check import CheckResult, Deadline
from cli.doctor.endpoints import answers, endpoints
from cli.doctor.metrics import Counts
from cli.doctor.service import ServiceInfo, SyntheticPrediction
from cli.http import EndpointError
from leeway.settings import DoctorSettings
from leeway.store.engine import Engine

T = TypeVar("T")
Check: TypeAlias = Callable[[], CheckResult]
AT_ONCE = 16
SIGNALS = ("row", "trace", "metric")
ANSWER_S = 5.0
"""The longest that one answer may take."""
SIGNAL_S = 30.0


@dataclass(frozen=True)
class Results:
    """The results in three parts, and the synthetic prediction (None if it was not requested)."""

    endpoints: tuple[CheckResult, ...]
    signals: tuple[CheckResult, ...]
    machine: tuple[CheckResult, ...]
    prediction: SyntheticPrediction | None
    took_s: float

    @property
    def all(self) -> tuple[CheckResult, ...]:
        """The results of all checks."""
        return (*self.endpoints, *self.signals, *self.machine)

    @property
    def all_well(self) -> bool:
        """Whether no check failed."""
        return all(each.state != "failed" for each in self.all)


def run_checks(settings: DoctorSettings, wait_s: float | None = None) -> Results:
    """Run all checks at the same time, except where one needs another's result.

    A signal may take `wait_s` to arrive, an answer no longer than that and no longer than `ANSWER_S`. By default
    signals may take `SIGNAL_S`, and metrics as long as the service's export takes.
    """
    signal_s = SIGNAL_S if wait_s is None else wait_s
    metric_s = metrics.wait_s(settings, signal_s) if wait_s is None else wait_s
    began_s, answer_s = time.monotonic(), min(ANSWER_S, signal_s)
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="doctor") as pool:
        of_service = pool.submit(_pair, "service", partial(service.inspect, settings.url, answer_s, settings.api_key))
        of_store = pool.submit(_pair, "database", partial(storage.open_store, settings))
        counts_before = pool.submit(_counts, settings, answer_s)
        versions = pool.submit(metrics.versions, settings, answer_s)
        others = _start(pool, {each.check: partial(answers, each, answer_s) for each in endpoints(settings)})
        scrapes = pool.submit(_safely, "scrapes", partial(metrics.targets, settings, answer_s))
        disk = pool.submit(_safely, "disk", partial(machine.disk, settings))
        ports = pool.submit(_safely, "ports", partial(machine.ports, machine.addresses(settings), answer_s))
        (ready, info), (opened, engine) = of_service.result(), of_store.result()
        answering = [ready, *(each.result() for each in others.values()), opened]
        signals, prediction = _Signals(settings, signal_s, metric_s, answer_s, pool).follow(
            info, engine, counts_before.result()
        )
        run = _last_run(settings, engine, info, answering)
        return Results(
            tuple(_with_version(each, versions.result()) for each in answering),
            (*signals, scrapes.result(), run),
            (machine.clocks(answering), disk.result(), ports.result(), machine.variables()),
            prediction,
            time.monotonic() - began_s,
        )


@dataclass(frozen=True)
class _Signals:
    """Requests the synthetic prediction and follows its signals."""

    settings: DoctorSettings
    signal_s: float
    metric_s: float
    answer_s: float
    pool: ThreadPoolExecutor

    def follow(
        self, info: ServiceInfo | None, engine: Engine | None, counts_before: Counts | Exception
    ) -> tuple[list[CheckResult], SyntheticPrediction | None]:
        """The results for the prediction and for each of its signals."""
        if info is None:
            reason = "not checked: the service does not answer"
            return [CheckResult(each, "skipped", reason) for each in ("prediction", *SIGNALS)], None
        spans_before = traces.length(self.settings.spans_file)
        result, prediction = _pair(
            "prediction", partial(service.predict, self.settings.url, info, self.answer_s, self.settings.api_key)
        )
        if prediction is None:
            reason = "not checked: there is no prediction to follow"
            return [result, *(CheckResult(each, "skipped", reason) for each in SIGNALS)], None
        deadline = Deadline(self.signal_s)
        no_store = CheckResult("row", "skipped", "not checked: the database does not answer")
        look = partial(traces.arrival, self.settings, prediction, spans_before, self.answer_s, deadline)
        trace = self.pool.submit(_pair, "trace", look)  # it says which process's count is ours

        def metric() -> CheckResult:
            origin = trace.result()[1]
            return metrics.risen(self.settings, counts_before, origin, self.answer_s, deadline.of(self.metric_s))

        checks: dict[str, Check] = {
            "row": (lambda: no_store)
            if engine is None
            else partial(storage.row, engine, info, prediction, deadline, delta=self.settings.delta),
            "trace": lambda: trace.result()[0],
            "metric": metric,
        }
        try:
            found = [each.result() for each in _start(self.pool, checks).values()]
        finally:
            deadline.give_up()  # Ctrl-C ends the waiting at once
        return [result, *found], prediction


def _last_run(
    settings: DoctorSettings, engine: Engine | None, info: ServiceInfo | None, answering: list[CheckResult]
) -> CheckResult:
    if engine is None or info is None:
        return CheckResult("drift run", "skipped", "not checked: it needs the service's model and the database")
    worker_answers = any(each.check == "drift worker" and each.state == "ok" for each in answering)
    look = partial(storage.last_run, engine, info, settings.drift_interval, worker_answers=worker_answers)
    return _safely("drift run", look)


def _counts(settings: DoctorSettings, timeout_s: float) -> Counts | Exception:
    """The counts before our prediction, or why they are unknown: the metric check reports that."""
    try:
        return metrics.prediction_counts(settings, timeout_s)
    except (EndpointError, metrics.NoMetrics) as error:
        return error


def _start(pool: ThreadPoolExecutor, checks: Mapping[str, Check]) -> dict[str, Future[CheckResult]]:
    return {name: pool.submit(_safely, name, check) for name, check in checks.items()}


def _safely(name: str, check: Check) -> CheckResult:
    return _pair(name, lambda: (check(), None))[0]


def _pair(name: str, check: Callable[[], tuple[CheckResult, T | None]]) -> tuple[CheckResult, T | None]:
    try:
        return check()
    except Exception as error:  # noqa: BLE001 (a check's boundary: it is reported, and the others still run)
        found = f"the check itself failed ({type(error).__name__}: {error})"
        return CheckResult(name, "failed", found, "report this to Leeway: the check did not expect that answer"), None


def _with_version(result: CheckResult, versions: Mapping[str, str]) -> CheckResult:
    """With the version that its metrics report; not for a process that does not answer."""
    answers_without = result.version is None and result.state in {"ok", "warning"}
    return structs.replace(result, version=versions.get(result.check)) if answers_without else result
