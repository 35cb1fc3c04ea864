from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from itertools import count

import pytest

from cli.traffic import sender
from cli.traffic.labels import Answered
from cli.traffic.plan import PlannedRequest, RequestKind
from cli.traffic.probe import TrafficProbe
from cli.traffic.sender import Sender
from cli.traffic.tally import NOT_SENT, Tally
from cli.traffic.transport import LoadClient, Reply
from tests.cli import stub_server as stubs
from tests.cli.stub_server import http, predicted, stub_server


def every(step_s: float, number: int, kind: RequestKind = "features") -> list[PlannedRequest]:
    """Equal requests at equal intervals."""
    return [PlannedRequest(place * step_s, kind, b"{}") for place in range(number)]


def sent(
    plan: Iterable[PlannedRequest],
    reply: stubs.Reply,
    *,
    max_in_flight: int = 50,
    timeout_s: float = 5.0,
    take_answer: Callable[[Answered], None] | None = None,
    stop_after_s: float | None = None,
) -> Tally:
    """Send a plan to a server with these answers; return the tally."""

    async def send(client: LoadClient) -> Tally:
        tally, stop = Tally(), asyncio.Event()
        sender = Sender(client, TrafficProbe(client.target), tally, max_in_flight, take_answer)
        if stop_after_s is not None:
            asyncio.get_running_loop().call_later(stop_after_s, stop.set)
        await sender.run(plan, stop)
        await sender.drain(stop)
        client.close()
        return tally

    with stub_server(reply) as server:
        return asyncio.run(send(LoadClient(server.target, timeout_s)))


class Gate(LoadClient):
    """A client that gets its answers only once the gate is open."""

    opened: asyncio.Event

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """See `LoadClient.post`."""
        await self.opened.wait()
        return await super().post(path, body, headers)


@pytest.mark.long
def test_a_stall_shows_in_every_waiting_request() -> None:
    """Late answers do not slow the sender: requests continue, and latency counts from when each was due."""
    plan, stalled_s = every(0.01, 40), 0.3

    async def send(client: Gate) -> tuple[Tally, float]:
        client.opened, tally = asyncio.Event(), Tally()
        asyncio.get_running_loop().call_later(stalled_s, client.opened.set)
        sender = Sender(client, TrafficProbe(client.target), tally, 100)
        await sender.run(plan, asyncio.Event())
        sending_s = sender.now_s
        await sender.drain(asyncio.Event())
        client.close()
        return tally, sending_s

    with stub_server(lambda request: predicted(request.number)) as server:
        tally, sending_s = asyncio.run(send(Gate(server.target, 5.0)))
    assert (len(server.requests), tally.failed) == (40, 0)
    assert sending_s == pytest.approx(0.39, abs=0.15)
    # The first was due at the start of the stall, the thirtieth at its end: half of them waited half as long or more.
    assert (tally.good_latencies.quantile_ms(1.0) or 0) >= 1_000 * stalled_s * 0.95
    assert 50 < (tally.good_latencies.quantile_ms(0.5) or 0) < 1_000 * stalled_s


def test_requests_in_flight_are_limited() -> None:
    """Requests above the limit are never queued: they are counted as errors and not sent."""
    tally = sent(every(0.001, 20), lambda _: None, max_in_flight=5, timeout_s=0.2)
    assert tally.errors == {NOT_SENT: 15, "timeout": 5}
    assert tally.planned["features"] == 20


def test_timeouts_count_as_latency() -> None:
    """A request without an answer is part of the latencies, or the worst would not show."""
    tally = sent(every(0.001, 3), lambda _: None, timeout_s=0.2)
    assert (tally.good_latencies.quantile_ms(0.5) or 0) >= 190


@pytest.mark.parametrize(
    ("kind", "answer", "error"),
    [
        ("features", http(status=503), "HTTP 503"),
        ("customer", http(status=404), "HTTP 404"),
        ("bad", http(), "bad input answered with HTTP 200"),
        ("bad", http(status=503), "bad input answered with HTTP 503"),
        ("features", b"", "no connection: BrokenAnswer"),
        ("features", http(b"hello"), "answer is not a Leeway prediction"),
        ("batch", http(b"{}"), "answer is not a Leeway prediction"),
        ("batch", http(b'{"results": [{"error": {"status": 404}}]}'), "batch item answered with HTTP 404"),
    ],
)
def test_unexpected_answers_are_errors(kind: RequestKind, answer: bytes, error: str) -> None:
    """Each unexpected answer is one error, by its kind."""
    assert sent(every(0.0, 1, kind), lambda _: answer, take_answer=lambda _: None).errors == {error: 1}


@pytest.mark.parametrize("status", [400, 404, 422])
def test_bad_input_must_be_rejected(status: int) -> None:
    """Bad input that is rejected is not an error."""
    tally = sent(every(0.0, 1, "bad"), lambda _: http(status=status))
    assert (tally.failed, tally.answered["bad"]) == (0, 1)


def test_answered_predictions_are_passed_on() -> None:
    """Single answers and those in a batch are kept for their labels, with the concept drift of their time."""
    one = {"prediction_id": "a", "features_used": {"x": 1}, "prediction": 0, "probability": 0.25}
    single = http(json.dumps(one).encode())
    batch = http(json.dumps({"results": [one, {"error": {"status": 422}}, {**one, "prediction_id": "b"}]}).encode())
    kept: list[Answered] = []
    plan = [PlannedRequest(0.0, "features", b"{}", concept_drift=0.5), PlannedRequest(0.05, "batch", b"{}")]
    sent(plan, lambda request: batch if "/batch" in request.path else single, take_answer=kept.append)
    assert kept == [
        Answered("a", {"x": 1}, 0, 0.25, 0.5),
        Answered("a", {"x": 1}, 0, 0.25, 0.0),
        Answered("b", {"x": 1}, 0, 0.25, 0.0),
    ]


def test_stopping_cancels_hanging_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once stopped, the sender sends nothing more, waits a moment, and counts the requests that it cancels."""
    monkeypatch.setattr(sender, "GRACE_S", 0.1)
    plan = (PlannedRequest(place * 0.05, "features", b"{}") for place in count())
    tally = sent(plan, lambda _: None, stop_after_s=0.22)
    assert 3 <= tally.unfinished == tally.planned["features"] <= 6
    assert tally.failed == 0


def test_stopping_does_not_wait_for_later_requests() -> None:
    """Once stopped, the sender does not sleep until its next request."""
    tally = sent([PlannedRequest(60.0, "features", b"{}")], lambda _: predicted(), stop_after_s=0.05)
    assert tally.planned.total() == 0
