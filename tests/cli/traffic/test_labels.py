from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest

from cli.traffic import labels as module
from cli.traffic.labels import Answered, Labeller, ModelTruth, PopulationTruth, labels
from cli.traffic.probe import TrafficProbe
from cli.traffic.tally import Tally
from cli.traffic.transport import LoadClient
from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.model.performance import roc_auc
from tests.cli.stub_server import Reply, StubServer, http, stub_server

BOTH = pytest.mark.parametrize("truth", [PopulationTruth(), ModelTruth(0.3)], ids=lambda truth: type(truth).__name__)

# --- the true labels ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answers(bundle: Bundle, people: Population) -> list[Answered]:
    """The model's answers for every customer."""
    rows = [people.row(place) for place in range(len(people))]
    scores = bundle.score(rows)
    return [Answered(str(place), row, float(scores[place]), 0.0) for place, row in enumerate(rows)]


def drifted(answers: list[Answered]) -> list[Answered]:
    """The same answers, under full concept drift."""
    return [replace(each, concept_drift=1.0) for each in answers]


def area(answers: list[Answered], found: list[int]) -> float:
    """The ROC AUC of the model's answers for these labels."""
    return roc_auc(np.array(found), np.array([each.probability for each in answers])).value


@BOTH
def test_without_concept_drift_the_model_is_right(answers: list[Answered], truth: PopulationTruth | ModelTruth) -> None:
    """Labels agree with a good model as well as its card says."""
    assert 0.8 < area(answers, labels(truth, answers, 7)) < 0.9


@BOTH
def test_concept_drift_makes_the_model_useless(answers: list[Answered], truth: PopulationTruth | ModelTruth) -> None:
    """At full concept drift the model is no better than chance, and about as many leave."""
    found = labels(truth, drifted(answers), 7)
    assert 0.4 < area(answers, found) < 0.55
    assert np.mean(found) == pytest.approx(0.27, abs=0.06)


def test_equal_features_have_equal_labels(answers: list[Answered]) -> None:
    """A repeated customer gets the same label; another seed draws other labels."""
    some = answers[:500]
    again = [Answered("other", dict(reversed(list(each.features.items()))), each.probability, 0.0) for each in some]
    assert labels(PopulationTruth(), again, 7) == labels(PopulationTruth(), some, 7)
    assert labels(PopulationTruth(), some, 8) != labels(PopulationTruth(), some, 7)


def test_each_answer_has_its_own_drift(answers: list[Answered]) -> None:
    """Answers from before and after a drift, posted together, are each labelled by the rule of their time."""
    some, truth = answers[:100], PopulationTruth()
    mixed = [each if place % 2 else drifted(some)[place] for place, each in enumerate(some)]
    before, after = truth.chances(some), truth.chances(drifted(some))
    assert truth.chances(mixed) == pytest.approx([(before if place % 2 else after)[place] for place in range(100)])


# --- posting them -------------------------------------------------------------------------------------------------


def labelled(
    answers: int, reply: Reply, *, delay_s: float = 0.0, run_s: float = 0.0, rest: bool = True
) -> tuple[Tally, StubServer]:
    """Pass some answers to a labeller that posts to a server with these answers."""

    async def run(client: LoadClient) -> Tally:
        tally, stop = Tally(), asyncio.Event()
        labeller = Labeller(client, TrafficProbe(client.target), tally, ModelTruth(0.5), delay_s, seed=7)
        for place in range(answers):
            labeller.expect(Answered(f"p{place}", {"x": place}, float(place % 2), 0.0))
        asyncio.get_running_loop().call_later(run_s, stop.set)
        await labeller.run(stop)
        if rest:
            await labeller.post_rest()
        client.close()
        return tally

    with stub_server(reply) as server:
        return asyncio.run(run(LoadClient(server.target, 1.0))), server


def posted(server: StubServer) -> dict[str, int]:
    """The labels that arrived, by prediction."""
    items = (item for request in server.requests for item in json.loads(request.body)["items"])
    return {item["prediction_id"]: item["label"] for item in items}


def test_each_prediction_gets_its_label() -> None:
    """All answers have their label posted, in requests of limited size."""
    tally, server = labelled(450, lambda _: http(status=202))
    assert posted(server) == {f"p{place}": place % 2 for place in range(450)}
    assert [len(json.loads(request.body)["items"]) for request in server.requests] == [200, 200, 50]
    assert (tally.labels, tally.label_errors.total()) == (450, 0)


def test_labels_wait_for_their_delay() -> None:
    """A label is not posted before its delay is over."""
    _, server = labelled(3, lambda _: http(status=202), delay_s=60.0, run_s=0.1, rest=False)
    assert server.requests == []


@pytest.mark.parametrize(("answer", "reason"), [(http(status=503), "HTTP 503"), (b"", "BrokenAnswer")])
def test_rejected_labels_are_counted(answer: bytes, reason: str) -> None:
    """Labels that the service rejects are not prediction errors, and are counted by reason."""
    tally, _ = labelled(3, lambda _: answer)
    assert (tally.labels, tally.label_errors, tally.failed) == (0, {reason: 3}, 0)


def test_waiting_labels_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    """If too many wait, the oldest get no label and are counted."""
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    tally, server = labelled(5, lambda _: http(status=202))
    assert (set(posted(server)), tally.label_errors.total()) == ({"p3", "p4"}, 3)


def test_held_labels_wait_for_their_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels of predictions answered while labels are held are posted after the release; earlier ones are not held."""
    monkeypatch.setattr(module, "EVERY_S", 0.01)

    async def run(client: LoadClient) -> list[set[str]]:
        labeller, found = Labeller(client, TrafficProbe(client.target), Tally(), ModelTruth(0.5), 0.0, seed=7), []
        posting = asyncio.create_task(labeller.run(asyncio.Event()))
        labeller.expect(Answered("before", {"x": 0}, 0.0, 0.0))
        await asyncio.sleep(0.002)
        for step, name in ((labeller.hold, "held"), (labeller.release, "after")):
            step()
            await asyncio.sleep(0.002)
            labeller.expect(Answered(name, {"x": 0}, 0.0, 0.0))
            await asyncio.sleep(0.3)
            found.append(set(posted(server)))
        posting.cancel()
        client.close()
        return found

    with stub_server(lambda _: http(status=202)) as server:
        found = asyncio.run(run(LoadClient(server.target, 1.0)))
    assert found == [{"before"}, {"before", "held", "after"}]
