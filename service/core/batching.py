"""Adaptive batching: requests of one turn of the event loop are scored, recorded and answered together.

There is no timer, so a single request does not wait for others. The more requests arrive while the process is busy,
the larger the next batch. Features are scored on the event loop, because that takes microseconds, or in a thread if the
model is slow; customers are looked up in threads, with one query per batch.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Generic, TypeVar

from leeway.store.record import PredictionRecord
from service.core.predictor import LookedUp, PredictionError, PredictionRequest, Predictor, Usable
from service.telemetry.probe import LookupCall, ModelCall, TraceRef

MAX_BATCH = 64
"""Maximum number of requests in one call of the model; the others wait for the next turn of the loop."""
MAX_LOOKUPS = 4
"""Maximum number of concurrent lookups; requests that arrive meanwhile share the next one."""


class WaitingRequest(ABC):
    """A request that waits for its answer. See `service.telemetry.probe.AnsweredRequest` for the fields."""

    __slots__ = (
        "answered_ns",
        "arrived_at_ns",
        "arrived_ns",
        "call",
        "lookup",
        "record",
        "recorded",
        "request",
        "row",
        "trace",
        "usable",
    )

    arrived_at_ns: int
    arrived_ns: int
    answered_ns: int
    request: PredictionRequest
    trace: TraceRef | None
    usable: Usable
    lookup: LookupCall | None
    call: ModelCall
    row: int
    record: PredictionRecord
    recorded: bool

    @property
    @abstractmethod
    def is_open(self) -> bool:
        """Whether the client still waits."""

    @abstractmethod
    def abandon(self) -> None:
        """Drop this request: its client disconnected before it was answered."""

    @abstractmethod
    def answer_alone(self) -> None:
        """Answer this request separately: it failed, or another request of its batch did."""


Waiting = TypeVar("Waiting", bound=WaitingRequest)


class Batcher(Generic[Waiting]):
    """Collects waiting requests on the event loop. Its methods must be called there.

    `finish` answers requests that were scored; each has its `record` and `call`. If the model fails, `answer_alone` is
    called for each request of the batch, so that only the faulty one gets an error. It is also called for a request
    that could not be recorded although recording is required.
    """

    def __init__(
        self, predictor: Predictor, finish: Callable[[Sequence[Waiting]], None], *, scores_in_thread: bool
    ) -> None:
        self._predictor = predictor
        self._finish = finish
        self._scores_in_thread = scores_in_thread
        self._is_scoring = False
        self._lookups = 0
        self._to_look_up: deque[Waiting] = deque()
        self._to_score: deque[Waiting] = deque()
        self._is_scheduled = False

    def submit(self, waiting: Waiting) -> None:
        """Answer `waiting` in the next turn of the loop, or after a lookup."""
        request = waiting.request
        waiting.lookup = None
        if request.user_id is None:
            waiting.usable = (None, None, request.features or (), request.is_synthetic)
            self._to_score.append(waiting)
        else:
            self._to_look_up.append(waiting)
        if not self._is_scheduled:
            self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._turn, context=Context())

    def _turn(self) -> None:
        self._is_scheduled = False
        try:
            while self._to_look_up and self._lookups < MAX_LOOKUPS:
                self._look_up(_take_open(self._to_look_up))
            if self._to_score and not self._is_scoring:
                batch = _take_open(self._to_score)
                if batch and self._scores_in_thread:
                    self._score_in_thread(batch)
                elif batch:
                    self._score(batch)
        finally:
            if self._to_score and not self._is_scoring:
                self._schedule()

    # --- looking up ---------------------------------------------------------------------------------------------------

    def _look_up(self, batch: Sequence[Waiting]) -> None:
        if not batch:
            return
        self._lookups += 1
        user_ids = [waiting.request.user_id or "" for waiting in batch]
        lookup = asyncio.get_running_loop().run_in_executor(None, self._predictor.look_up, user_ids)
        lookup.add_done_callback(partial(self._looked_up, batch), context=Context())

    def _looked_up(self, batch: Sequence[Waiting], lookup: Future[tuple[LookedUp, LookupCall]]) -> None:
        self._lookups -= 1
        self._schedule()
        if _failed(lookup):
            answer_alone(batch)
            return
        found, call = lookup.result()
        for waiting in batch:
            usable = self._predictor.usable(waiting.request, found)
            if isinstance(usable, PredictionError):
                answer_alone([waiting])
            else:
                waiting.usable, waiting.lookup = usable, call
                self._to_score.append(waiting)

    # --- scoring ------------------------------------------------------------------------------------------------------

    def _score(self, batch: Sequence[Waiting]) -> None:
        try:
            self._answer(batch)
        except Exception:  # noqa: BLE001 (a boundary: each request is repeated alone, and only the faulty one fails)
            answer_alone(batch)
        else:
            self._finish_recorded(batch)

    def _score_in_thread(self, batch: Sequence[Waiting]) -> None:
        self._is_scoring = True
        scored = asyncio.get_running_loop().run_in_executor(None, self._answer, batch)
        scored.add_done_callback(partial(self._scored, batch), context=Context())

    def _scored(self, batch: Sequence[Waiting], scored: Future[None]) -> None:
        self._is_scoring = False
        self._schedule()
        if _failed(scored):
            answer_alone(batch)
        else:
            self._finish_recorded(batch)

    def _answer(self, batch: Sequence[Waiting]) -> None:
        records, kept, call = self._predictor.answer_together(
            [waiting.usable for waiting in batch],
            [None if waiting.lookup is None else waiting.lookup.duration_ns / 1e9 for waiting in batch],
            [waiting.trace for waiting in batch],
        )
        for row, (waiting, record, recorded) in enumerate(zip(batch, records, kept, strict=True)):
            waiting.record, waiting.recorded, waiting.call, waiting.row = record, recorded, call, row

    def _finish_recorded(self, batch: Sequence[Waiting]) -> None:
        """Answer a batch that was scored."""
        lost = [waiting for waiting in batch if not waiting.recorded]
        if lost and self._predictor.recorder.required:
            answer_alone(lost)
            batch = [waiting for waiting in batch if waiting.recorded]
        if batch:
            self._finish(batch)


def _take_open(queue: deque[Waiting]) -> list[Waiting]:
    """Take the oldest requests, without those whose client disconnected."""
    taken = []
    for _ in range(min(MAX_BATCH, len(queue))):
        waiting = queue.popleft()
        if waiting.is_open:
            taken.append(waiting)
        else:
            waiting.abandon()
    return taken


def answer_alone(batch: Sequence[WaitingRequest]) -> None:
    """Answer each of these requests separately, unless its client disconnected."""
    for waiting in batch:
        if waiting.is_open:
            waiting.answer_alone()
        else:
            waiting.abandon()


def _failed(future: Future[Any]) -> bool:
    """Whether the call failed or was cancelled. Its requests are then repeated one by one and raise it again."""
    return future.cancelled() or future.exception() is not None
