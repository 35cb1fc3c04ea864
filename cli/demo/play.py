"""Plays the story: its traffic, the start of each act, and measuring latency and drift meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

from cli.demo.samples import Samples, read_sample
from cli.demo.story import Act, starts_s
from cli.demo.workspace import WorkspaceError
from cli.http import OK, EndpointError, HttpResponse, ServiceAddress, ask_async
from cli.live_display import wait_for
from cli.traffic.labels import Labeller, PopulationTruth
from cli.traffic.plan import Plan, PlannedRequest, Profile
from cli.traffic.probe import TrafficProbe
from cli.traffic.rows import PopulationRows
from cli.traffic.sender import Sender
from cli.traffic.tally import Tally
from cli.traffic.transport import LoadClient
from drift.result import RunResult
from leeway.schema import CHURN_SCHEMA

TIMEOUT_S: Final = 10.0
MAX_IN_FLIGHT: Final = 256
LABEL_DELAY_S: Final = 1.0
SAMPLE_EVERY_S: Final = 0.5
SETTLE_S: Final = 15.0
"""How long the last act continues at most, until a comparison has seen its labels."""
SEED: Final = 7


@dataclass
class Played:
    """What happened so far. `began` holds the start times (aware) of acts; `runs` are oldest first."""

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
        """The current act's number, from 0."""
        return max(len(self.began) - 1, 0)

    @property
    def act(self) -> Act:
        """The current act."""
        return self.acts[self.number]

    def stretch(self, number: int) -> tuple[datetime, datetime]:
        """Start and end of an act that has ended."""
        ends = [*self.began[1:], self.ended or datetime.now(UTC)]
        return self.began[number], ends[number]


def strengths(acts: Iterable[Act]) -> list[float]:
    """Every strength of drift that occurs."""
    return sorted({each for act in acts for each in _profile(act).strengths(act.drift)})


def requests(acts: Sequence[Act], rate: float, rows: PopulationRows) -> Iterator[PlannedRequest]:
    """The requests of all acts in the order in which they are due; the last act does not end."""
    for number, (act, start_s) in enumerate(zip(acts, starts_s(acts), strict=True)):
        plan = Plan(
            rate=rate,
            duration_s=act.lasts_s if number < len(acts) - 1 else None,
            rows=rows,
            schema=CHURN_SCHEMA,
            user_ids=rows.user_ids,
            drift=act.drift,
            concept_drift=act.concept_drift,
            profile=_profile(act),
            seed=SEED + number,
        )
        for planned in plan.requests():
            yield replace(planned, due_s=start_s + planned.due_s)


def _profile(act: Act) -> Profile:
    """Only covariate drift ramps up; concept drift is a step."""
    return Profile(ramp_s=act.ramp_s if act.drift else 0.0)


@dataclass(frozen=True)
class Director:
    """Plays the acts against the service at `target`; `read_runs` reads the drift worker's runs, oldest first."""

    target: ServiceAddress
    rows: PopulationRows
    rate: float
    read_runs: Callable[[], list[RunResult]]

    async def play(self, played: Played, over: asyncio.Event) -> None:
        """Play all acts, and always set `over` at the end.

        Raises:
            ExceptionGroup: of a WorkspaceError: the service stopped answering, or does not allow faults.
        """
        with ExitStack() as stack:
            stack.callback(over.set)
            await self._play(played, stack.enter_context(closing(LoadClient(self.target, TIMEOUT_S))))

    async def _play(self, played: Played, client: LoadClient) -> None:
        probe = TrafficProbe(self.target)
        labeller = Labeller(client, probe, played.tally, PopulationTruth(), LABEL_DELAY_S, SEED)
        sender = Sender(client, probe, played.tally, MAX_IN_FLIGHT, labeller.expect)
        plan = requests(played.acts, self.rate, self.rows)
        enough, settled = asyncio.Event(), asyncio.Event()
        never = asyncio.Event()  # these tasks end by being cancelled
        async with asyncio.TaskGroup() as group:
            watching = [
                group.create_task(self._scrape(played)),
                group.create_task(self._watch_runs(played, settled)),
                group.create_task(labeller.run(never)),
            ]
            sending = group.create_task(sender.run(plan, enough))
            await self._begin_acts(played, labeller)
            played.settling = datetime.now(UTC)
            await wait_for(settled, SETTLE_S)
            enough.set()
            await sending
            await sender.drain(never)
            played.ended = datetime.now(UTC)
            for task in watching:
                task.cancel()

    async def _begin_acts(self, played: Played, labeller: Labeller) -> None:
        """Begin each act when it is due; return at the end of the last one."""
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        for act, due_s in zip(played.acts, starts_s(played.acts), strict=True):
            await asyncio.sleep(start_s + due_s - loop.time())
            await self._inject_faults(act)
            if act.labels_held:
                labeller.hold()
            else:
                labeller.release()
            played.began.append(datetime.now(UTC))
        await asyncio.sleep(start_s + sum(act.lasts_s for act in played.acts) - loop.time())

    async def _inject_faults(self, act: Act) -> None:
        """Activate the act's faults, or end all."""
        if act.faults is None:
            await self._ask("/faults", "DELETE")
            return
        # A little longer than the act: the next act ends them, and they end by themselves if it does not come.
        wanted: dict[str, Any] = {**act.faults, "seconds": round(act.lasts_s) + 5}
        answer = await self._ask("/faults", "PUT", wanted)
        if answer.status != OK:
            raise WorkspaceError(
                f"the service does not allow faults (HTTP {answer.status}), so scoring cannot slow down"
            )

    async def _ask(self, path: str, method: str = "GET", body: object = None) -> HttpResponse:
        try:
            return await ask_async(self.target, path, TIMEOUT_S, method=method, body=body)
        except EndpointError as error:
            raise WorkspaceError(f"the service stopped answering: it {error}") from error

    async def _scrape(self, played: Played) -> None:
        """Read `/metrics` regularly."""
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        while True:
            answer = await self._ask("/metrics")
            sample = await asyncio.to_thread(read_sample, answer.body.decode(), datetime.now(UTC))
            played.samples.add(sample)
            played.now_s = loop.time() - start_s
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def _watch_runs(self, played: Played, settled: asyncio.Event) -> None:
        """Read the drift worker's runs regularly; the first one after the last act sets `settled`."""
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            played.runs = await asyncio.to_thread(self.read_runs)
            if played.settling and played.runs and played.runs[-1].time >= played.settling:
                settled.set()
