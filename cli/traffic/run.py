"""`leeway traffic`: realistic requests at a rate, with drift, bad input and labels on demand."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import Callable, Coroutine
from contextlib import closing, suppress
from typing import TypeVar

from rich.console import Console

from cli.http import BadUrl, ServiceAddress
from cli.options import FAILED, console, plain_errors, stop
from cli.traffic.labels import Labeller, Truth
from cli.traffic.plan import Plan
from cli.traffic.prepare import TrafficError, TrafficOptions, prepare
from cli.traffic.probe import TrafficProbe, probe_from_environment
from cli.traffic.sender import Sender
from cli.traffic.tally import Tally
from cli.traffic.transport import LoadClient
from cli.traffic.view import View
from leeway.settings import ClientSettings
from leeway.shutdown import on_stop_signal
from leeway.telemetry.environment import TelemetryError

T = TypeVar("T")
SWITCH_S = 0.0005
"""How long the thread that exports spans may hold the interpreter, as in the service."""


def run_traffic(settings: ClientSettings, options: TrafficOptions) -> None:
    """Send the traffic and print the results. SIGTERM and Ctrl-C end the run early, with the summary.

    Raises:
        typer.Exit: with code 1 if too many requests failed, with 2 if no traffic can be sent.
    """
    out = console()
    with plain_errors(TrafficError, BadUrl, TelemetryError):
        target = ServiceAddress.parse(settings.url, api_key=settings.api_key)
        with probe_from_environment(target) as probe:
            sys.setswitchinterval(SWITCH_S)
            with asyncio.Runner(loop_factory=_fast_loop()) as runner:
                tally = runner.run(_session(out, target, probe, options))
    if tally is None:
        stop("stopped before the service was ready", FAILED)
    if tally.failed > options.max_errors:
        stop(f"{tally.failed:,} errors, more than --max-errors {options.max_errors:,}", FAILED)


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """An event loop with less overhead, if one is installed."""
    with suppress(ImportError):
        import uvloop

        return uvloop.new_event_loop
    return None


async def _session(out: Console, target: ServiceAddress, probe: TrafficProbe, options: TrafficOptions) -> Tally | None:
    """Prepare and run; None if it was stopped before it could run."""
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    client = LoadClient(target, options.timeout_s)
    with closing(client), on_stop_signal(lambda: loop.call_soon_threadsafe(stopped.set)):
        prepared = await _unless(stopped, prepare(out, target, options))
        return None if prepared is None else await _run(out, client, probe, options, *prepared, stopped)


async def _run(
    out: Console,
    client: LoadClient,
    probe: TrafficProbe,
    options: TrafficOptions,
    plan: Plan,
    truth: Truth,
    stopped: asyncio.Event,
) -> Tally:
    """Send, show, post labels; then print the summary."""
    tally, over = Tally(), asyncio.Event()
    labeller = Labeller(client, probe, tally, truth, options.label_delay_s, options.seed) if options.labels else None
    sender = Sender(client, probe, tally, options.max_in_flight, labeller.expect if labeller else None)
    view = View(out, tally, plan.duration_s)
    gc.collect()
    gc.freeze()  # the population stays: no collection walks through it while answers wait
    async with asyncio.TaskGroup() as group:
        group.create_task(view.show(lambda: sender.now_s, over))
        if labeller is not None:
            group.create_task(labeller.run(over))
        await sender.run(plan.requests(), stopped)
        took_s = sender.now_s
        await sender.drain(stopped)
        over.set()
    if labeller is not None:
        await labeller.post_rest()
    view.summary(plan, truth.origin if options.labels else None, took_s)
    return tally


async def _unless(stopped: asyncio.Event, work: Coroutine[None, None, T]) -> T | None:
    """The work's result, or None if `stopped` was set before."""
    task, waiting = asyncio.create_task(work), asyncio.create_task(stopped.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.wait({task})
    return None
