from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.store.record import PredictionRecord
from service.core.batching import MAX_BATCH, MAX_LOOKUPS, Batcher, WaitingRequest
from service.core.predictor import LookedUp, PredictionRequest, Predictor, UnknownCustomer, Usable
from service.telemetry.probe import LookupCall, ModelCall

CALL = ModelCall(0, 0, 0, ())
IDS: ContextVar[str] = ContextVar("ids", default="none")


class Asked(WaitingRequest):
    """A request that notes what happened to it."""

    __slots__ = ("fate", "has_gone")

    def __init__(self, request: PredictionRequest) -> None:
        self.request, self.trace, self.fate, self.has_gone = request, None, "waiting", False

    @property
    def is_open(self) -> bool:
        """See `WaitingRequest`."""
        return not self.has_gone

    def abandon(self) -> None:
        """See `WaitingRequest`."""
        self.fate = "abandoned"

    def answer_alone(self) -> None:
        """See `WaitingRequest`."""
        self.fate = "alone"


@dataclass
class FakePredictor:
    """Counts its calls; a row `bad` fails the whole call, a row `lost` is not recorded, `stranger` has no snapshot."""

    bad: int = -1
    lost: int = -1
    required: bool = False
    scored: list[list[int]] = field(default_factory=list)
    looked_up: list[list[str]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    contexts: set[str] = field(default_factory=set)
    release: threading.Event = field(default_factory=threading.Event)

    @property
    def recorder(self) -> FakePredictor:
        """Says whether recording is required."""
        return self

    def answer_together(
        self, usable: Sequence[Usable], *_: object
    ) -> tuple[list[PredictionRecord], list[bool], ModelCall]:
        """See `Predictor`."""
        rows = [cast("int", features[0]) for _, _, features, _ in usable]
        self.scored.append(rows)
        self.threads.add(threading.current_thread().name)
        self.contexts.add(IDS.get())
        if self.bad in rows:
            raise RuntimeError("the model broke")
        return cast("list[PredictionRecord]", rows), [row != self.lost for row in rows], CALL

    def look_up(self, user_ids: Sequence[str]) -> tuple[LookedUp, LookupCall]:
        """See `Predictor`; waits until the test lets it end."""
        self.looked_up.append(list(user_ids))
        self.release.wait(10)
        return {}, LookupCall(0, 5)

    def usable(self, request: PredictionRequest, _found: LookedUp) -> Usable | UnknownCustomer:
        """See `Predictor`."""
        if request.user_id == "stranger":
            return UnknownCustomer("no such customer")
        return request.user_id, None, (int(request.user_id or 0),), False


@dataclass
class Batching:
    """A batcher over a fake predictor, and the batches that it finished."""

    predictor: FakePredictor = field(default_factory=FakePredictor)
    finished: list[list[Asked]] = field(default_factory=list)

    def batcher(self, *, scores_in_thread: bool = False) -> Batcher[Asked]:
        """The batcher."""

        def finish(batch: Sequence[Asked]) -> None:
            for waiting in batch:
                waiting.fate = "answered"
            self.finished.append(list(batch))

        return Batcher(cast("Predictor", self.predictor), finish, scores_in_thread=scores_in_thread)


def features(*rows: int) -> list[Asked]:
    """Requests with features."""
    return [Asked(PredictionRequest(features=(row,))) for row in rows]


def customers(*user_ids: str) -> list[Asked]:
    """Requests by customer."""
    return [Asked(PredictionRequest(user_id=user_id)) for user_id in user_ids]


async def settled(is_done: Callable[[], bool]) -> None:
    """Wait until `is_done`."""
    for _ in range(2_000):
        if is_done():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never happened")


def run(batching: Batching, asked: Sequence[Asked], **options: Any) -> None:  # noqa: ANN401 (passed on)
    """Submit the requests in one turn of the loop, and wait until none waits."""

    async def submit_all() -> None:
        batcher = batching.batcher(**options)
        for each in asked:
            batcher.submit(each)
        await settled(lambda: all(each.fate != "waiting" for each in asked))

    batching.predictor.release.set()
    asyncio.run(submit_all())


def test_requests_of_one_turn_share_a_call() -> None:
    """Three requests are scored in one call, and answered together in their order."""
    batching, asked = Batching(), features(1, 2, 3)
    run(batching, asked)
    assert (batching.predictor.scored, batching.finished) == ([[1, 2, 3]], [asked])
    found: list[tuple[Any, int]] = [(each.record, each.row) for each in asked]
    assert found == [(1, 0), (2, 1), (3, 2)]


def test_a_lone_request_waits_for_nobody() -> None:
    """One request is answered in the next turn of the loop, without a timer."""
    batching, (asked,) = Batching(), features(1)

    async def one_turn() -> None:
        batching.batcher().submit(asked)
        await asyncio.sleep(0)

    asyncio.run(one_turn())
    assert asked.fate == "answered"


def test_a_batch_is_bounded() -> None:
    """What exceeds the largest batch is answered in the next turns."""
    batching, asked = Batching(), features(*range(2 * MAX_BATCH + 1))
    run(batching, asked)
    assert list(map(len, batching.predictor.scored)) == [MAX_BATCH, MAX_BATCH, 1]


@pytest.mark.parametrize("scores_in_thread", [False, True])
def test_a_failed_call_is_repeated_one_by_one(*, scores_in_thread: bool) -> None:
    """Where a call fails, each of its requests is answered alone; none is left waiting."""
    batching, asked = Batching(FakePredictor(bad=2)), features(1, 2, 3)
    run(batching, asked, scores_in_thread=scores_in_thread)
    assert ([each.fate for each in asked], batching.finished) == (["alone"] * 3, [])


def test_who_has_gone_is_skipped() -> None:
    """A request whose client has gone is neither scored nor recorded."""
    batching, asked = Batching(), features(1, 2)
    asked[0].has_gone = True
    run(batching, asked)
    assert (batching.predictor.scored, [each.fate for each in asked]) == ([[2]], ["abandoned", "answered"])


def test_who_goes_during_a_lookup_is_skipped() -> None:
    """The others of the same lookup are answered."""
    batching, asked = Batching(), customers("1", "2")

    async def go() -> None:
        batcher = batching.batcher()
        for each in asked:
            batcher.submit(each)
        await settled(lambda: bool(batching.predictor.looked_up))
        asked[0].has_gone = True
        batching.predictor.release.set()
        await settled(lambda: all(each.fate != "waiting" for each in asked))

    asyncio.run(go())
    assert [each.fate for each in asked] == ["abandoned", "answered"]


def test_an_unknown_customer_is_answered_alone() -> None:
    """Only the request that found nothing gets the error."""
    batching, asked = Batching(), customers("1", "stranger", "2")
    run(batching, asked)
    assert [each.fate for each in asked] == ["answered", "alone", "answered"]
    assert batching.predictor.looked_up == [["1", "stranger", "2"]]


@pytest.mark.parametrize(("required", "fate"), [(False, "answered"), (True, "alone")])
def test_what_was_not_recorded_is_answered_alone_if_it_must_be(*, required: bool, fate: str) -> None:
    """The others were recorded, and keep the answer whose id is on the disk."""
    batching, asked = Batching(FakePredictor(lost=2, required=required)), features(1, 2, 3)
    run(batching, asked)
    assert [each.fate for each in asked] == ["answered", fate, "answered"]
    assert [each.recorded for each in asked] == [True, False, True]
    assert batching.predictor.scored == [[1, 2, 3]]


def test_features_never_wait_for_lookups() -> None:
    """While a lookup waits for the database, requests with features are answered."""
    batching, waiting, asked = Batching(), customers("1"), features(7)

    async def go() -> None:
        batcher = batching.batcher()
        batcher.submit(waiting[0])
        batcher.submit(asked[0])
        await settled(lambda: asked[0].fate == "answered")
        assert waiting[0].fate == "waiting"
        batching.predictor.release.set()
        await settled(lambda: waiting[0].fate == "answered")

    asyncio.run(go())
    assert batching.predictor.scored == [[7], [1]]


def test_lookups_are_batched_and_bounded() -> None:
    """At most four lookups run at a time; what arrives meanwhile shares the next one."""
    batching = Batching()
    asked = customers(*map(str, range(MAX_LOOKUPS + 3)))

    async def go() -> None:
        batcher = batching.batcher()
        for number, each in enumerate(asked, 1):
            batcher.submit(each)
            expected = min(number, MAX_LOOKUPS)
            await settled(lambda expected=expected: len(batching.predictor.looked_up) >= expected)  # type: ignore[misc]
        batching.predictor.release.set()
        await settled(lambda: all(each.fate == "answered" for each in asked))

    asyncio.run(go())
    assert list(map(len, batching.predictor.looked_up)) == [1] * MAX_LOOKUPS + [3]


def test_a_batch_runs_in_an_empty_context() -> None:
    """Nothing of the request that happened to come first, such as its ids, leaks into the others' work."""
    batching, asked = Batching(), features(1)

    async def go() -> None:
        IDS.set("of the first request")
        batching.batcher().submit(asked[0])
        await asyncio.sleep(0)

    asyncio.run(go())
    assert batching.predictor.contexts == {"none"}


def test_a_slow_model_scores_off_the_loop() -> None:
    """With `scores_in_thread` the call runs in a thread, and what arrives meanwhile shares the next one."""
    batching, asked = Batching(), features(1, 2)
    run(batching, asked, scores_in_thread=True)
    assert threading.main_thread().name not in batching.predictor.threads
    assert batching.predictor.scored == [[1, 2]]


@pytest.mark.parametrize("kind", ["bundle", "sklearn_bundle"])
def test_scores_are_the_same_alone_and_together(request: pytest.FixtureRequest, people: Population, kind: str) -> None:
    """The score of a row does not depend on which rows share its call, for ONNX and for scikit-learn."""
    model: Bundle = request.getfixturevalue(kind)
    rows = [people.row(place) for place in range(MAX_BATCH)]
    together = model.score(rows)
    assert [model.score([row])[0] for row in rows] == pytest.approx(together, abs=1e-7)
