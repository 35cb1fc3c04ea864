from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import suppress

import pytest

from cli.demo.play import DeferredLabels, Director, Played
from cli.demo.story import story
from cli.demo.workshop import WorkshopError
from cli.http import HttpClient
from cli.traffic.labels import Labeller
from cli.traffic.probe import NullTrafficProbe
from cli.traffic.rows import PopulationRows
from cli.traffic.tally import Tally
from cli.traffic.truth import Answered, PopulationTruth
from drift.result import RunResult
from tests.cli.demo.telling import a_run
from tests.cli.stub_server import Request, Stub, http, stub_server

STORY_S, RATE = 1.2, 40.0
ROWS = PopulationRows([step / 10 for step in range(11)], month=1)
UNWATCHED = asyncio.Event()
ROW = ROWS.row(random.Random(7), 0.0)  # noqa: S311 (no secret)


def refusing(method: str, path: str, answer: bytes) -> Callable[[Request], bytes]:
    """A service that answers this way there, and everywhere else as it should."""

    def reply(request: Request) -> bytes:
        return answer if request.head.startswith(f"{method} {path} ") else usual(request)

    return reply


def usual(request: Request) -> bytes:
    """A service that answers."""
    if request.head.startswith("POST /feedback"):
        return http(b"", 202)
    return http(b"" if "/metrics" in request.head else b'{"results": []}')


def played_against(
    reply: Callable[[Request], bytes], runs: Callable[[], list[RunResult]], over: asyncio.Event = UNWATCHED
) -> tuple[Played, Stub]:
    """The story, played in a moment; `over` is what the director sets at its end."""

    async def play() -> tuple[Played, Stub]:
        played = Played(story(STORY_S))
        async with stub_server(reply) as stub:
            client = HttpClient(stub.target, timeout_s=2)
            try:
                await Director(client, ROWS, RATE, runs).play(played, over)
            finally:
                client.close()
        return played, stub

    return asyncio.run(play())


def test_acts_follow_each_other_and_faults_are_for_one() -> None:
    """Every act is played for its time, and the service is made slow at the beginning of one and not at its end."""
    played, stub = played_against(usual, lambda: [a_run(1, 10**9)])
    asked = [each for each in stub.requests if " /faults " in each.head]
    assert [each.head.split()[0] for each in asked] == ["DELETE"] * 3 + ["PUT"] + ["DELETE"] * 2
    wanted = json.loads(asked[3].body)
    assert (wanted["slow_scoring"]["milliseconds"], wanted["seconds"] >= 1) == (80, True)
    lasted_s = [(end - start).total_seconds() for start, end in map(played.stretch, range(5))]
    assert lasted_s == pytest.approx([act.lasts_s for act in story(STORY_S)[:5]], abs=0.15)
    assert played.tally.planned.total() >= RATE * STORY_S * 0.5


def test_last_act_goes_on_until_the_last_comparison() -> None:
    """Requests are sent until a drift run has seen the labels: a window that nobody fills tells nothing."""
    calls = iter(range(100))
    played, _ = played_against(usual, lambda: [a_run(1, 10**9 if next(calls) > 4 else -(10**9))])
    assert played.settling is not None
    assert played.ended is not None
    assert (played.ended - played.settling).total_seconds() > 0.4
    assert played.samples.over_time[-1].at > played.settling


@pytest.mark.parametrize(
    ("method", "path", "answer", "said"),
    [
        ("PUT", "/faults", http(status=404), r"takes no faults \(HTTP 404\)"),
        ("GET", "/metrics", b"", "answers no more"),
        ("DELETE", "/faults", b"", "answers no more"),
    ],
)
def test_a_service_that_goes_away_ends_the_story(method: str, path: str, answer: bytes, said: str) -> None:
    """Where the service is gone, or lets nobody make it slow, the story ends at once, and says so."""
    with pytest.raises(ExceptionGroup) as caught:
        played_against(refusing(method, path, answer), list)
    assert caught.group_contains(WorkshopError, match=said)


@pytest.mark.parametrize("answer", [http(status=404), http(b"{}")], ids=["broken off", "at its end"])
def test_whoever_shows_the_story_is_told_its_end(answer: bytes) -> None:
    """Whether the story came to its end or broke off, whoever waits for that is told."""
    over = asyncio.Event()
    with suppress(ExceptionGroup):
        played_against(refusing("PUT", "/faults", answer), lambda: [a_run(1, 10**9)], over)
    assert over.is_set()


def test_labels_are_held_back_until_they_are_told() -> None:
    """Truths that are held back are posted only once they are handed over, those of before included."""

    async def told() -> list[int]:
        tally = Tally()
        counts: list[int] = []
        async with stub_server(usual) as stub:
            client = HttpClient(stub.target, timeout_s=2)
            labeller = Labeller(client, NullTrafficProbe(), tally, PopulationTruth(), 0.0, 7)
            held = DeferredLabels(labeller)
            for step in (held.hold, held.hand_over):
                held.expect(Answered(f"p{len(counts)}", ROW, 0.5, 0.0))
                step()
                held.expect(Answered(f"q{len(counts)}", ROW, 0.5, 0.0))
                await labeller.post_rest()
                counts.append(tally.labels)
            client.close()
        return counts

    assert asyncio.run(told()) == [1, 4]
