from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from itertools import islice, takewhile

import pytest

from cli.demo.play import Director, Played, requests, strengths
from cli.demo.story import LASTS_S, starts_s, story
from cli.demo.workspace import WorkspaceError
from cli.http import ask
from cli.traffic.plan import PlannedRequest
from cli.traffic.rows import PopulationRows
from drift.result import RunResult
from tests.cli.demo.example_run import a_run
from tests.cli.stub_server import Request, StubServer, http, stub_server

STORY_S, FAST, RATE = 1.2, 40.0, 20.0


@pytest.fixture(scope="module")
def rows() -> PopulationRows:
    """The customers of the story, at each strength of drift."""
    return PopulationRows(strengths(story()), month=1)


# --- the requests -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def planned(rows: PopulationRows) -> list[PlannedRequest]:
    """The requests of the story up to the end of its last act."""
    return list(takewhile(lambda each: each.due_s < LASTS_S, requests(story(), RATE, rows)))


def of_act(planned: list[PlannedRequest], key: str) -> list[PlannedRequest]:
    """The requests that are due in one act."""
    acts = story()
    place = [act.key for act in acts].index(key)
    start_s = starts_s(acts)[place]
    return [each for each in planned if start_s <= each.due_s < start_s + acts[place].lasts_s]


def test_requests_are_in_order_and_at_the_rate(planned: list[PlannedRequest]) -> None:
    """Requests of all acts are due one after the other, at the given rate on average."""
    due_s = [each.due_s for each in planned]
    assert due_s == sorted(due_s)
    assert len(planned) == pytest.approx(RATE * LASTS_S, rel=0.1)


@pytest.mark.parametrize("key", ["calm", "recovered", "slow", "green", "labels"])
def test_inputs_drift_in_one_act_only(planned: list[PlannedRequest], key: str) -> None:
    """Requests of all other acts do not drift: while scoring is slow, inputs look like the training data."""
    assert {each.drift for each in of_act(planned, key)} == {0.0}


def test_drift_rises_to_its_full_strength(planned: list[PlannedRequest]) -> None:
    """In its act drift rises to full strength, and requests go by features: snapshots do not drift."""
    strength = [each.drift for each in of_act(planned, "drift")]
    assert strength == sorted(strength)
    assert (strength[0] < 0.2, strength[-1]) == (True, 1.0)
    assert "customer" not in {each.kind for each in of_act(planned, "drift")}


def test_concept_drift_starts_in_the_fifth_act(planned: list[PlannedRequest]) -> None:
    """From the fifth act on, concept drift is at full strength; before it there is none."""
    assert {each.concept_drift for key in ("green", "labels") for each in of_act(planned, key)} == {1.0}
    assert {each.concept_drift for key in ("calm", "drift", "recovered", "slow") for each in of_act(planned, key)} == {
        0.0
    }


def test_the_last_act_does_not_end(rows: PopulationRows) -> None:
    """The last act's requests continue: the last comparison may be late."""
    last = list(islice(requests(story(15), RATE, rows), 1_000))[-1]
    assert last.due_s > 30
    assert json.loads(last.body)


# --- playing them -------------------------------------------------------------------------------------------------


def service(request: Request) -> bytes:
    """The answers of a service."""
    if request.path == "/feedback":
        return http(b"", 202)
    return http(b"" if request.path == "/metrics" else b'{"results": []}')


def failing(method: str, path: str, answer: bytes) -> Callable[[Request], bytes]:
    """A service that gives this answer to one kind of request."""
    return lambda request: answer if (request.method, request.path) == (method, path) else service(request)


def played_against(
    reply: Callable[[Request], bytes],
    rows: PopulationRows,
    runs: Callable[[], list[RunResult]] = lambda: [a_run(1, 10**9)],
) -> tuple[Played, StubServer]:
    """The story, shortened, played against a server with these answers."""

    async def play() -> None:
        over = asyncio.Event()
        try:
            await Director(server.target, rows, FAST, runs).play(played, over)
        finally:
            assert over.is_set()

    played = Played(story(STORY_S))
    with stub_server(reply) as server:
        ask(server.target, "/health/live", 5)  # the first request imports what the others need
        asyncio.run(play())
    return played, server


def test_acts_follow_each_other_and_faults_are_for_one(rows: PopulationRows) -> None:
    """Every act lasts its time, and the service is slowed down at the start of one act only."""
    played, server = played_against(service, rows)
    faults = [each for each in server.requests if each.path == "/faults"]
    assert [each.method for each in faults] == ["DELETE"] * 3 + ["PUT"] + ["DELETE"] * 2
    wanted = json.loads(faults[3].body)
    assert (wanted["slow_scoring"]["milliseconds"], wanted["seconds"] >= 1) == (80, True)
    lasted_s = [(end - start).total_seconds() for start, end in map(played.stretch, range(5))]
    assert lasted_s == pytest.approx([act.lasts_s for act in story(STORY_S)[:5]], abs=0.15)
    assert played.tally.planned.total() >= FAST * STORY_S * 0.5


def test_the_last_act_continues_until_the_last_comparison(rows: PopulationRows) -> None:
    """Requests are sent until a drift run has seen the labels: an empty window has no result."""
    calls = iter(range(100))
    played, _ = played_against(service, rows, lambda: [a_run(1, 10**9 if next(calls) > 3 else -(10**9))])
    assert played.settling is not None
    assert played.ended is not None
    assert (played.ended - played.settling).total_seconds() > 0.2
    assert played.samples.over_time[-1].at > played.settling


@pytest.mark.parametrize(
    ("method", "path", "answer", "message"),
    [
        ("PUT", "/faults", http(status=404), r"does not allow faults \(HTTP 404\)"),
        ("GET", "/metrics", b"", "stopped answering"),
        ("DELETE", "/faults", b"", "stopped answering"),
    ],
)
def test_a_failing_service_ends_the_story(
    method: str, path: str, answer: bytes, message: str, rows: PopulationRows
) -> None:
    """If the service stops answering or does not allow faults, the story ends at once, with the reason."""
    with pytest.raises(ExceptionGroup) as caught:
        played_against(failing(method, path, answer), rows, list)
    assert caught.group_contains(WorkspaceError, match=message)


@pytest.mark.parametrize("answer", [http(status=404), http(b"{}")], ids=["broken off", "complete"])
def test_the_end_is_always_signalled(answer: bytes, rows: PopulationRows) -> None:
    """Whether the story completes or breaks off, `over` is set for the display; `played_against` checks it."""
    ended = []
    with suppress(ExceptionGroup):
        ended.append(played_against(failing("PUT", "/faults", answer), rows)[0].ended)
    assert len(ended) == (b" 200 " in answer)
