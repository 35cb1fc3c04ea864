"""`leeway traffic`: realistic requests at a rate, with drift, bad input and labels on demand."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console

from cli.http import BadUrl, HttpClient, Target
from cli.options import FAILED, console, plain_errors
from cli.traffic.labels import Labeller
from cli.traffic.plan import Plan
from cli.traffic.prepare import Prepared, Wanted, prepare
from cli.traffic.probe import TrafficProbe, probe_from_environment
from cli.traffic.sender import Sender
from cli.traffic.service import TrafficError
from cli.traffic.tally import Tally
from cli.traffic.view import View
from leeway.settings import ClientSettings
from leeway.shutdown import on_stop_signal
from leeway.telemetry.environment import TelemetryError

T = TypeVar("T")
SWITCH_S = 0.0005
"""How long the thread that exports spans may keep the interpreter, as in the service."""


def run_traffic(settings: ClientSettings, wanted: Wanted) -> int:
    """Send the traffic and print what came of it; return the exit code: 1 where too many requests failed.

    SIGTERM and Ctrl-C end it, with the summary.
    """
    out = console()
    with plain_errors(TrafficError, BadUrl, TelemetryError):
        target = Target.parse(settings.url)
        with probe_from_environment(target) as probe:
            sys.setswitchinterval(SWITCH_S)
            with asyncio.Runner(loop_factory=_fast_loop()) as runner:
                tally = runner.run(_session(out, target, probe, wanted))
    if tally is None:
        print("leeway: stopped before the service was there", file=sys.stderr)
        return FAILED
    if tally.failed > wanted.max_errors:
        print(f"leeway: {tally.failed:,} errors, more than --max-errors {wanted.max_errors:,}", file=sys.stderr)
        return FAILED
    return 0


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Where there is one, an event loop that takes less time for itself."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _session(out: Console, target: Target, probe: TrafficProbe, wanted: Wanted) -> Tally | None:
    """Prepare and run; None where it was stopped before there was anything to run."""
    client = HttpClient(target, wanted.timeout_s)
    with _stop_event() as stop:
        try:
            prepared = await _unless(stop, prepare(out, client, wanted))
            return None if prepared is None else await _run(out, client, probe, wanted, prepared, stop)
        finally:
            client.close()


async def _run(
    out: Console,
    client: HttpClient,
    probe: TrafficProbe,
    wanted: Wanted,
    prepared: Prepared,
    stop: asyncio.Event,
) -> Tally:
    """Send, show, post labels; then say what happened."""
    plan, tally, over = prepared.plan, Tally(), asyncio.Event()
    labeller = (
        Labeller(client, probe, tally, prepared.truth, wanted.label_delay_s, wanted.seed) if wanted.labels else None
    )
    sender = Sender(client, probe, tally, wanted.max_in_flight, labeller)
    view = View(out, tally, plan.duration_s)
    gc.collect()
    gc.freeze()  # the population lives on: no collection goes through it while answers wait
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(_send_all(sender, plan, stop, over))
        group.create_task(view.show(lambda: sender.now_s, over))
        if labeller is not None:
            group.create_task(labeller.run(over))
    took_s = sending.result()
    if labeller is not None:
        await labeller.post_rest()
    view.summary(plan, prepared.truth.origin if wanted.labels else None, took_s)
    return tally


async def _send_all(sender: Sender, plan: Plan, stop: asyncio.Event, over: asyncio.Event) -> float:
    """Send, wait for the answers, and say that it is over; return the seconds of sending."""
    try:
        await sender.run(plan.requests(), stop)
        took_s = sender.now_s
        await sender.drain(stop)
    finally:
        over.set()
    return took_s


async def _unless(stop: asyncio.Event, work: Coroutine[None, None, T]) -> T | None:
    """The work's result, or None where it was stopped before."""
    task, stopped = asyncio.create_task(work), asyncio.create_task(stop.wait())
    await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.wait({task})
    return None


@contextmanager
def _stop_event() -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM and Ctrl-C set."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    with on_stop_signal(lambda: loop.call_soon_threadsafe(stop.set)):
        yield stop
