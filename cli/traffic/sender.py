"""Sends what is planned when it is due, whether or not earlier requests are answered (an open loop).

Latency counts from the moment at which a request was due, so that a stall of the service shows in every request that
had to wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

import orjson

from cli.http import Answer, HttpClient
from cli.traffic.bad_input import REFUSALS
from cli.traffic.plan import Planned
from cli.traffic.probe import TrafficProbe
from cli.traffic.tally import NOT_SENT, Tally
from cli.traffic.truth import Answered

OK = 200
LONG_S = 0.5
"""A wait that is worth being cut short."""
GRACE_S = 2.0


class AnswersTaker(Protocol):
    """Takes answered predictions, as `cli.traffic.labels.Labeller` does."""

    def expect(self, answered: Answered) -> None:
        """A prediction was answered; its truth is to come."""
        ...


class Sender:
    """Sends; never more than `max_in_flight` requests at once: what would be more is counted and left out."""

    def __init__(
        self,
        client: HttpClient,
        probe: TrafficProbe,
        tally: Tally,
        max_in_flight: int,
        labeller: AnswersTaker | None = None,
    ) -> None:
        self._client = client
        self._probe = probe
        self._tally = tally
        self._max_in_flight = max_in_flight
        self._labeller = labeller
        self._tasks: set[asyncio.Task[None]] = set()
        self.started_s = 0.0

    @property
    def now_s(self) -> float:
        """Seconds from the start."""
        return asyncio.get_running_loop().time() - self.started_s

    async def run(self, plan: Iterable[Planned], stop: asyncio.Event) -> None:
        """Send until the plan or patience ends; some requests are then still under way, see `drain`."""
        self.started_s = asyncio.get_running_loop().time()
        for planned in plan:
            await self._until(planned.due_s, stop)
            if stop.is_set():
                return
            self._tally.due(planned.kind, planned.drift, planned.turned)
            if len(self._tasks) >= self._max_in_flight:
                self._tally.errors[NOT_SENT] += 1
                continue
            task = asyncio.create_task(self._send(planned))
            self._tasks.add(task)
            task.add_done_callback(self._done)
            self._tally.in_flight = len(self._tasks)

    async def drain(self, stop: asyncio.Event) -> None:
        """Wait for what is under way; once told to stop no longer than `GRACE_S`, and what is left is given up."""
        while self._tasks and not stop.is_set():
            await asyncio.wait(self._tasks, timeout=0.1)
        if self._tasks:
            _, left = await asyncio.wait(self._tasks, timeout=GRACE_S)
            self._tally.unfinished = len(left)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    async def _until(self, due_s: float, stop: asyncio.Event) -> None:
        """Wait for the moment, or for the end; give answers their turn in any case."""
        wait_s = due_s - self.now_s
        if wait_s > LONG_S:
            try:
                async with asyncio.timeout(wait_s):
                    await stop.wait()
            except TimeoutError:
                pass
        else:
            await asyncio.sleep(max(wait_s, 0))

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._tally.in_flight = len(self._tasks)
        if not task.cancelled():
            task.result()

    async def _send(self, planned: Planned) -> None:
        """Send one and count what came of it."""
        self._tally.lateness.add(self.now_s - planned.due_s)
        sent = self._probe.sends(planned.path, planned.kind, planned.drift)
        try:
            answer = await self._client.ask("POST", planned.path, planned.body, sent.headers)
        except TimeoutError as error:
            sent.failed(error)
            self._tally.errors["no answer in time"] += 1
        except OSError as error:
            sent.failed(error)
            self._tally.errors[f"no connection: {type(error).__name__}"] += 1
            return  # refused in a moment: no latency of an answer
        except asyncio.CancelledError as error:
            sent.failed(error)
            raise
        else:
            sent.answered(answer.status)
            self._take(planned, answer)
        ended_s = self.now_s
        self._tally.took(planned.kind, ended_s - planned.due_s, ended_s)

    def _take(self, planned: Planned, answer: Answer) -> None:
        """Hold an answer against what it should be."""
        self._tally.answered[planned.kind] += 1
        if planned.kind == "bad":
            if answer.status not in REFUSALS:
                self._tally.errors[f"bad input answered with HTTP {answer.status}"] += 1
            return
        reason = f"HTTP {answer.status}" if answer.status != OK else None
        if reason is None and (planned.kind == "batch" or self._labeller is not None):
            reason = self._take_results(planned, answer.body)
        if reason is not None:
            self._tally.errors[reason] += 1

    def _take_results(self, planned: Planned, body: bytes) -> str | None:
        """Hand on what was answered; the first error in it, in words."""
        reason = None
        try:
            for result in _results(orjson.loads(body), planned):
                if "error" in result:
                    reason = reason or f"an item of a batch refused with {result['error']['status']}"
                elif self._labeller is not None:
                    self._labeller.expect(_answered(result, planned.turned))
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return "an answer that is none of Leeway's"
        return reason


def _results(document: Any, planned: Planned) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401 (what JSON holds)
    return iter(document["results"] if planned.kind == "batch" else [document])


def _answered(result: Mapping[str, Any], turned: float) -> Answered:
    return Answered(str(result["prediction_id"]), dict(result["features_used"]), float(result["probability"]), turned)
