"""Tells the service what turned out to be true, some time after it answered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import orjson

from cli.http import HttpClient
from cli.traffic.probe import TrafficProbe
from cli.traffic.tally import Tally
from cli.traffic.truth import Answered, Truth, labels

FEEDBACK = "/feedback"
LOT = 200
"""Labels in one request: few enough that making them holds no request up."""
EVERY_S = 0.5
REST_S = 3.0
MAX_WAITING = 50_000
_ACCEPTED = 202


class Labeller:
    """Keeps answered predictions until their truth is due, `delay_s` seconds later, and posts it in lots.

    Never more than `MAX_WAITING` wait; of more, the oldest stay without a label, and are counted.
    """

    def __init__(
        self, client: HttpClient, probe: TrafficProbe, tally: Tally, truth: Truth, delay_s: float, seed: int
    ) -> None:
        self._client = client
        self._probe = probe
        self._tally = tally
        self._truth = truth
        self._delay_s = delay_s
        self._seed = seed
        self._waiting: deque[tuple[float, Answered]] = deque()

    def expect(self, answered: Answered) -> None:
        """See `cli.traffic.sender.AnswersTaker`."""
        if len(self._waiting) >= MAX_WAITING:
            self._waiting.popleft()
            self._tally.label_errors["too many waited"] += 1
        self._waiting.append((_now_s() + self._delay_s, answered))

    async def run(self, stop: asyncio.Event) -> None:
        """Post what is due, again and again, until told to stop."""
        while not stop.is_set():
            await asyncio.sleep(EVERY_S)
            await self._post_where(lambda due_s: due_s <= _now_s())

    async def post_rest(self) -> None:
        """Post all that wait, due or not: nobody will be there later. What takes longer than `REST_S` is left."""
        try:
            async with asyncio.timeout(REST_S):
                await self._post_where(lambda _: True)
        except TimeoutError:
            self._tally.label_errors["no time left"] += len(self._waiting)

    async def _post_where(self, due: Callable[[float], bool]) -> None:
        while self._waiting and due(self._waiting[0][0]):
            lot: list[Answered] = []
            while self._waiting and len(lot) < LOT and due(self._waiting[0][0]):
                lot.append(self._waiting.popleft()[1])
            await self._post(lot)

    async def _post(self, lot: list[Answered]) -> None:
        """Post some labels; they are not sent again where that fails."""
        known = labels(self._truth, lot, self._seed)
        items = [{"prediction_id": each.prediction_id, "label": label} for each, label in zip(lot, known, strict=True)]
        sent = self._probe.sends(FEEDBACK, "labels", 0.0)
        try:
            answer = await self._client.ask("POST", FEEDBACK, orjson.dumps({"items": items}), sent.headers)
        except OSError as error:  # TimeoutError is one
            sent.failed(error)
            self._tally.label_errors[type(error).__name__] += len(lot)
            return
        sent.answered(answer.status)
        if answer.status == _ACCEPTED:
            self._tally.labels += len(lot)
        else:
            self._tally.label_errors[f"HTTP {answer.status}"] += len(lot)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
