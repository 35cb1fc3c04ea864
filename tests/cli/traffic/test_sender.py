from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from itertools import count
from typing import Any

import pytest

from cli.http import HttpClient
from cli.traffic import labels, sender
from cli.traffic.labels import Labeller
from cli.traffic.plan import Kind, Planned
from cli.traffic.probe import NullTrafficProbe
from cli.traffic.sender import Sender
from cli.traffic.tally import NOT_SENT, Tally
from cli.traffic.truth import Answered, ModelTruth
from tests.cli.stub_server import Reply, Stub, http, predicted, stub_server

NOBODY = NullTrafficProbe()


class Kept:
    """Keeps what was answered."""

    def __init__(self) -> None:
        self.answers: list[Answered] = []

    def expect(self, answered: Answered) -> None:
        """See `AnswersTaker`."""
        self.answers.append(answered)


def every(step_s: float, number: int, kind: Kind = "features") -> list[Planned]:
    """Requests at even distances, all alike."""
    return [Planned(place * step_s, kind, b"{}") for place in range(number)]


def sent(
    plan: Iterable[Planned],
    reply: Reply,
    *,
    max_in_flight: int = 50,
    timeout_s: float = 5.0,
    taker: Kept | None = None,
    stop_after_s: float | None = None,
) -> Tally:
    """Send a plan to a server that answers so; what came of it."""

    async def send() -> Tally:
        async with stub_server(reply) as stub:
            client, tally, stop = HttpClient(stub.target, timeout_s), Tally(), asyncio.Event()
            sender = Sender(client, NOBODY, tally, max_in_flight, taker)
            if stop_after_s is not None:
                asyncio.get_running_loop().call_later(stop_after_s, stop.set)
            await sender.run(plan, stop)
            await sender.drain(stop)
            client.close()
            return tally

    return asyncio.run(send())


def test_a_stall_shows_in_every_request_that_waits() -> None:
    """Late answers do not slow the sender: requests go on, and each counts its latency from when it was due."""
    plan, stalled_s = every(0.01, 40), 0.3

    async def send() -> tuple[Tally, float, Stub]:
        hold = asyncio.Event()
        async with stub_server(lambda request: predicted(request.place)) as stub:
            client, tally = HttpClient(stub.target, 5.0), Tally()
            gate = Gate(client, hold)
            asyncio.get_running_loop().call_later(stalled_s, hold.set)
            sender = Sender(gate, NOBODY, tally, 100)
            await sender.run(plan, asyncio.Event())
            sending_s = sender.now_s
            await sender.drain(asyncio.Event())
            client.close()
            return tally, sending_s, stub

    tally, sending_s, stub = asyncio.run(send())
    assert (len(stub.requests), tally.failed) == (40, 0)
    assert sending_s == pytest.approx(0.39, abs=0.15)
    # The first was due at the start of the stall, the thirtieth at its end: half of them waited half as long or more.
    assert (tally.good_latencies().quantile_s(1.0) or 0) >= stalled_s * 0.95
    assert 0.05 < (tally.good_latencies().quantile_s(0.5) or 0) < stalled_s


class Gate(HttpClient):
    """A client to whom a service answers only once a gate is open."""

    def __init__(self, client: HttpClient, opened: asyncio.Event) -> None:
        super().__init__(client.target, 5.0)
        self._client, self._opened = client, opened

    async def ask(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 (handed on)
        """See `HttpClient.ask`."""
        await self._opened.wait()
        return await self._client.ask(*args, **kwargs)


def test_no_more_than_told_are_under_way() -> None:
    """What would be more than allowed is never queued: it is counted as an error, and left out."""
    tally = sent(every(0.001, 20), lambda _: None, max_in_flight=5, timeout_s=0.2)
    assert tally.errors == {NOT_SENT: 15, "no answer in time": 5}
    assert tally.planned["features"] == 20


def test_what_timed_out_counts_with_the_time_it_took() -> None:
    """A request without an answer is in the latencies, or the worst would not show."""
    tally = sent(every(0.001, 3), lambda _: None, timeout_s=0.2)
    assert (tally.good_latencies().quantile_s(0.5) or 0) >= 0.19


@pytest.mark.parametrize(
    ("kind", "answer", "error"),
    [
        ("features", http(status=503), "HTTP 503"),
        ("customer", http(status=404), "HTTP 404"),
        ("bad", http(), "bad input answered with HTTP 200"),
        ("bad", http(status=503), "bad input answered with HTTP 503"),
        ("features", b"", "no connection: BadAnswer"),
        ("features", http(b"hello"), "an answer that is none of Leeway's"),
        ("batch", http(b"{}"), "an answer that is none of Leeway's"),
        ("batch", http(b'{"results": [{"error": {"status": 404}}]}'), "an item of a batch refused with 404"),
    ],
)
def test_what_should_not_be_is_an_error(kind: Kind, answer: bytes, error: str) -> None:
    """Whatever ends other than it should is one error, by its kind."""
    assert sent(every(0.0, 1, kind), lambda _: answer, taker=Kept()).errors == {error: 1}


@pytest.mark.parametrize("status", [400, 404, 422])
def test_a_refusal_of_bad_input_is_right(status: int) -> None:
    """Bad input that is refused is no error."""
    tally = sent(every(0.0, 1, "bad"), lambda _: http(status=status))
    assert (tally.failed, tally.answered["bad"]) == (0, 1)


def test_every_answered_prediction_is_handed_on() -> None:
    """Single answers and those in a batch are kept for their labels, with the concept drift of their time."""
    one = {"prediction_id": "a", "features_used": {"x": 1}, "probability": 0.25}
    single = http(json.dumps(one).encode())
    batch = http(json.dumps({"results": [one, {"error": {"status": 422}}, {**one, "prediction_id": "b"}]}).encode())
    kept = Kept()
    plan = [Planned(0.0, "features", b"{}", turned=0.5), Planned(0.05, "batch", b"{}")]
    sent(plan, lambda request: batch if "/batch" in request.head else single, taker=kept)
    assert kept.answers == [
        Answered("a", {"x": 1}, 0.25, 0.5),
        Answered("a", {"x": 1}, 0.25, 0.0),
        Answered("b", {"x": 1}, 0.25, 0.0),
    ]


def test_stopping_cuts_off_what_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told to stop, the sender sends nothing more, waits a moment, and says how many it gave up."""
    monkeypatch.setattr(sender, "GRACE_S", 0.1)
    plan = (Planned(place * 0.05, "features", b"{}") for place in count())
    tally = sent(plan, lambda _: None, stop_after_s=0.22)
    assert 3 <= tally.unfinished == tally.planned["features"] <= 6
    assert tally.failed == 0


def test_stopping_does_not_wait_for_what_is_due_later() -> None:
    """Told to stop, the sender does not sleep until its next request."""
    tally = sent([Planned(60.0, "features", b"{}")], lambda _: predicted(), stop_after_s=0.05)
    assert tally.planned.total() == 0


def labelled(
    answers: int, reply: Reply, *, delay_s: float = 0.0, run_s: float = 0.0, rest: bool = True
) -> tuple[Tally, Stub]:
    """Answer some predictions, and let the labeller tell what turned out."""

    async def run() -> tuple[Tally, Stub]:
        async with stub_server(reply) as stub:
            client, tally, stop = HttpClient(stub.target, 1.0), Tally(), asyncio.Event()
            labeller = Labeller(client, NOBODY, tally, ModelTruth(0.5), delay_s, seed=7)
            for place in range(answers):
                labeller.expect(Answered(f"p{place}", {"x": place}, float(place % 2), 0.0))
            asyncio.get_running_loop().call_later(run_s, stop.set)
            await labeller.run(stop)
            if rest:
                await labeller.post_rest()
            client.close()
            return tally, stub

    return asyncio.run(run())


def items(stub: Stub) -> dict[str, int]:
    """The labels that came, by prediction."""
    return {
        item["prediction_id"]: item["label"] for request in stub.requests for item in json.loads(request.body)["items"]
    }


def test_each_prediction_gets_its_label() -> None:
    """All answers have their label posted, in lots that the service takes."""
    tally, stub = labelled(450, lambda _: http(status=202))
    assert items(stub) == {f"p{place}": place % 2 for place in range(450)}
    assert [len(json.loads(request.body)["items"]) for request in stub.requests] == [200, 200, 50]
    assert (tally.labels, tally.label_errors.total()) == (450, 0)


def test_labels_wait_for_their_time() -> None:
    """A label is not posted before its delay is over."""
    _, stub = labelled(3, lambda _: http(status=202), delay_s=60.0, run_s=0.1, rest=False)
    assert stub.requests == []


@pytest.mark.parametrize(("answer", "reason"), [(http(status=503), "HTTP 503"), (b"", "BadAnswer")])
def test_labels_that_are_not_taken_are_counted(answer: bytes, reason: str) -> None:
    """Labels that the service does not take are no errors of predictions, and are counted by reason."""
    tally, _ = labelled(3, lambda _: answer)
    assert (tally.labels, tally.label_errors, tally.failed) == (0, {reason: 3}, 0)


def test_labels_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where too many wait, the oldest go without a label and are counted."""
    monkeypatch.setattr(labels, "MAX_WAITING", 2)
    tally, stub = labelled(5, lambda _: http(status=202))
    assert (set(items(stub)), tally.label_errors.total()) == ({"p3", "p4"}, 3)
