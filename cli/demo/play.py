"""The story as it is played: traffic, cues, and what is seen meanwhile of latency and drift."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from cli.demo.samples import Samples, read_sample
from cli.demo.story import Act, starts_s
from cli.demo.traffic import requests
from cli.demo.workshop import WorkshopError
from cli.http import Answer, HttpClient
from cli.traffic.labels import Labeller
from cli.traffic.probe import NullTrafficProbe
from cli.traffic.rows import PopulationRows
from cli.traffic.sender import Sender
from cli.traffic.tally import Tally
from cli.traffic.truth import Answered, PopulationTruth
from drift.result import RunResult

MAX_IN_FLIGHT: Final = 256
LABEL_DELAY_S: Final = 1.0
SAMPLE_EVERY_S: Final = 0.5
SETTLE_S: Final = 15.0
_OK = 200
_JSON = {"content-type": "application/json"}
SEED: Final = 7


@dataclass
class Played:
    """What happened so far. `began` has the time (aware) at which each act began that did; `runs` are oldest first."""

    acts: Sequence[Act]
    tally: Tally = field(default_factory=Tally)
    samples: Samples = field(default_factory=Samples)
    runs: list[RunResult] = field(default_factory=list)
    began: list[datetime] = field(default_factory=list)
    settling: datetime | None = None
    ended: datetime | None = None
    now_s: float = 0.0

    @property
    def number(self) -> int:
        """Which act is on, from 0."""
        return max(len(self.began) - 1, 0)

    @property
    def act(self) -> Act:
        """The act that is on."""
        return self.acts[self.number]

    def stretch(self, number: int) -> tuple[datetime, datetime]:
        """From when to when an act was played; for acts that ended."""
        ends = [*self.began[1:], self.ended or datetime.now(UTC)]
        return self.began[number], ends[number]


class DeferredLabels:
    """Hands answered predictions to the labeller, or keeps them back until it is told to hand them over."""

    def __init__(self, labeller: Labeller) -> None:
        self._labeller = labeller
        self._held: deque[Answered] | None = None

    def expect(self, answered: Answered) -> None:
        """See `cli.traffic.sender.AnswersTaker`."""
        if self._held is None:
            self._labeller.expect(answered)
        else:
            self._held.append(answered)

    def hold(self) -> None:
        """Keep back what comes."""
        self._held = deque()

    def hand_over(self) -> None:
        """Hand over what was kept, and what comes."""
        while self._held:
            self._labeller.expect(self._held.popleft())
        self._held = None


class Director:
    """Plays the acts against a running service; `read_runs` reads what the drift worker has found, oldest first."""

    def __init__(
        self, client: HttpClient, rows: PopulationRows, rate: float, read_runs: Callable[[], list[RunResult]]
    ) -> None:
        self._client = client
        self._rows = rows
        self._rate = rate
        self._read_runs = read_runs

    async def play(self, played: Played, over: asyncio.Event) -> None:
        """Play all acts to the end, and set `over` then, whatever happens.

        Raises:
            ExceptionGroup: of a WorkshopError: the service answers no more, or lets nobody make it fail.
        """
        try:
            await self._play(played)
        finally:
            over.set()

    async def _play(self, played: Played) -> None:
        labeller = Labeller(self._client, NullTrafficProbe(), played.tally, PopulationTruth(), LABEL_DELAY_S, SEED)
        held, probe = DeferredLabels(labeller), NullTrafficProbe()
        sender = Sender(self._client, probe, played.tally, MAX_IN_FLIGHT, held)
        plan = requests(played.acts, self._rate, self._rows, self._rows.user_ids, SEED)
        enough, settled = asyncio.Event(), asyncio.Event()
        never = asyncio.Event()  # the end and Ctrl-C cancel
        async with asyncio.TaskGroup() as group:
            watching = [
                group.create_task(self._scrape(played)),
                group.create_task(self._look(played, settled)),
                group.create_task(labeller.run(never)),
            ]
            sending = group.create_task(sender.run(plan, enough))
            await self._cues(played, held)
            await _settle(played, settled)
            enough.set()
            await sending
            await sender.drain(never)
            played.ended = datetime.now(UTC)
            for task in watching:
                task.cancel()

    async def _cues(self, played: Played, held: DeferredLabels) -> None:
        """Begin each act when its time has come; return when the last one is over."""
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        for act, due_s in zip(played.acts, starts_s(played.acts), strict=True):
            await asyncio.sleep(start_s + due_s - loop.time())
            await self._make_fail(act)
            if act.labels == "held":
                held.hold()
            elif act.labels == "told":
                held.hand_over()
            played.began.append(datetime.now(UTC))
        await asyncio.sleep(start_s + sum(act.lasts_s for act in played.acts) - loop.time())

    async def _make_fail(self, act: Act) -> None:
        """Put the act's faults in force, or none."""
        if act.faults is None:
            await self._ask("DELETE", "/faults")
            return
        # A while longer than the act: the next one ends them, and they end by themselves where nobody does.
        wanted: dict[str, Any] = {**act.faults, "seconds": round(act.lasts_s) + 5}
        answer = await self._ask("PUT", "/faults", orjson.dumps(wanted))
        if answer.status != _OK:
            raise WorkshopError(f"the service takes no faults (HTTP {answer.status}), so scoring cannot be slowed")

    async def _ask(self, method: str, path: str, body: bytes = b"") -> Answer:
        try:
            return await self._client.ask(method, path, body, _JSON if body else None)
        except OSError as error:  # TimeoutError is one
            raise WorkshopError(f"the service answers no more ({str(error) or type(error).__name__})") from error

    async def _scrape(self, played: Played) -> None:
        """Read `/metrics` again and again."""
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        while True:
            answer = await self._ask("GET", "/metrics")
            sample = await asyncio.to_thread(read_sample, answer.body.decode(), datetime.now(UTC))
            played.samples.add(sample)
            played.now_s = loop.time() - start_s
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def _look(self, played: Played, settled: asyncio.Event) -> None:
        """Read the drift worker's runs again and again; one from after the last act sets `settled`."""
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            played.runs = await asyncio.to_thread(self._read_runs)
            if played.settling and played.runs and played.runs[-1].time >= played.settling:
                settled.set()


async def _settle(played: Played, settled: asyncio.Event) -> None:
    """Let the last act go on until a comparison has seen its labels, no longer than `SETTLE_S`."""
    played.settling = datetime.now(UTC)
    with suppress(TimeoutError):
        async with asyncio.timeout(SETTLE_S):
            await settled.wait()
