"""Sends each planned request when it is due, whether or not earlier ones are answered (an open loop).

Latency counts from when a request was due, so that a stall of the service shows in every request that waited.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from cli.http import OK
from cli.live_display import wait_for
from cli.traffic.labels import Answered
from cli.traffic.plan import REJECTED, PlannedRequest
from cli.traffic.probe import TrafficProbe
from cli.traffic.tally import NOT_SENT, Tally
from cli.traffic.transport import LoadClient, Reply

LONG_S = 0.5
"""A wait longer than this ends early when the run is stopped."""
GRACE_S = 2.0


@dataclass
class Sender:
    """Sends at most `max_in_flight` requests at once; any more are counted as errors and not sent.

    `take_answer` gets each answered prediction.
    """

    client: LoadClient
    probe: TrafficProbe
    tally: Tally
    max_in_flight: int
    take_answer: Callable[[Answered], None] | None = None
    started_s: float = field(default=0.0, init=False)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    @property
    def now_s(self) -> float:
        """Seconds from the start."""
        return asyncio.get_running_loop().time() - self.started_s

    async def run(self, plan: Iterable[PlannedRequest], stop: asyncio.Event) -> None:
        """Send until the plan ends or `stop` is set; some requests are then still in flight, see `drain`."""
        self.started_s = asyncio.get_running_loop().time()
        for planned in plan:
            await self._until(planned.due_s, stop)
            if stop.is_set():
                return
            self.tally.due(planned.kind, planned.drift, planned.concept_drift)
            if len(self._tasks) >= self.max_in_flight:
                self.tally.errors[NOT_SENT] += 1
                continue
            task = asyncio.create_task(self._send(planned))
            self._tasks.add(task)
            task.add_done_callback(self._done)

    async def drain(self, stop: asyncio.Event) -> None:
        """Wait for requests in flight. Once `stop` is set, wait at most `GRACE_S`, then cancel the rest."""
        while self._tasks and not stop.is_set():
            await asyncio.wait(self._tasks, timeout=0.1)
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=GRACE_S)
            self.tally.unfinished = len(left)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _until(self, due_s: float, stop: asyncio.Event) -> None:
        """Wait until then, or until `stop`; always let answers be handled in between."""
        wait_s = due_s - self.now_s
        if wait_s > LONG_S:
            await wait_for(stop, wait_s)
        else:
            await asyncio.sleep(max(wait_s, 0))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.result()

    async def _send(self, planned: PlannedRequest) -> None:
        """Send one request and count its result."""
        self.tally.lateness.add(self.now_s - planned.due_s)
        request = self.probe.sends(planned.path, planned.kind, planned.drift)
        try:
            reply = await self.client.post(planned.path, planned.body, request.headers)
        except TimeoutError as error:
            request.failed(error)
            self.tally.errors["timeout"] += 1
        except OSError as error:
            request.failed(error)
            self.tally.errors[f"no connection: {type(error).__name__}"] += 1
            return  # rejected at once, so there is no latency to count
        except asyncio.CancelledError as error:
            request.failed(error)
            raise
        else:
            request.answered(reply.status)
            self._take(planned, reply)
        ended_s = self.now_s
        self.tally.took(planned.kind, ended_s - planned.due_s, ended_s)

    def _take(self, planned: PlannedRequest, reply: Reply) -> None:
        """Compare a reply with the expected one."""
        self.tally.answered[planned.kind] += 1
        if planned.kind == "bad":
            if reply.status not in REJECTED:
                self.tally.errors[f"bad input answered with HTTP {reply.status}"] += 1
            return
        reason = f"HTTP {reply.status}" if reply.status != OK else None
        if reason is None and (planned.kind == "batch" or self.take_answer is not None):
            reason = self._take_results(planned, reply.body)
        if reason is not None:
            self.tally.errors[reason] += 1

    def _take_results(self, planned: PlannedRequest, body: bytes) -> str | None:
        """Pass on the predictions; return the first error among them."""
        reason = None
        try:
            document = msgspec.json.decode(body)
            for result in document["results"] if planned.kind == "batch" else [document]:
                if "error" in result:
                    reason = reason or f"batch item answered with HTTP {result['error']['status']}"
                elif self.take_answer is not None:
                    self.take_answer(Answered.read(result, planned.concept_drift))
        except (KeyError, TypeError, ValueError):
            return "answer is not a Leeway prediction"
        return reason
