from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from cli.traffic import labels as module
from cli.traffic.labels import Answered, Labeller, ModelTruth, PopulationTruth, Truth, labels
from cli.traffic.probe import TrafficProbe
from cli.traffic.tally import Tally
from cli.traffic.transport import LoadClient
from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.model.card import Card, Distribution, HeldOut, ScoreReference
from leeway.model.performance import Estimate, roc_auc
from leeway.schema import Label, Value
from tests.cli.stub_server import Reply, StubServer, http, stub_server
from tests.datasets import DIABETES, REAL, WINE
from tests.fixtures import RealBundle, Serve
from tests.leeway.model.bundles import golden_card

CHURN = golden_card(held_out=HeldOut(100, {"0": 0.7, "1": 0.3}))
BOTH = pytest.mark.parametrize("truth", [PopulationTruth(), ModelTruth(CHURN)], ids=lambda truth: type(truth).__name__)

# --- the true labels ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answers(bundle: Bundle, people: Population) -> list[Answered]:
    """The model's answers for every customer."""
    rows = [people.row(place) for place in range(len(people))]
    scores = bundle.score(rows)
    return [answer(str(place), row, float(scores[place])) for place, row in enumerate(rows)]


def answer(name: str, row: Mapping[str, Value], probability: float) -> Answered:
    """A binary answer, without concept drift."""
    return Answered(name, row, int(probability >= 0.5), probability, 0.0)


def drifted(answers: list[Answered]) -> list[Answered]:
    """The same answers, under full concept drift."""
    return [replace(each, concept_drift=1.0) for each in answers]


def area(answers: list[Answered], found: list[Label]) -> float:
    """The ROC AUC of the model's answers for these labels."""
    return roc_auc(np.array(found), np.array([each.probabilities for each in answers])).value


@BOTH
def test_without_concept_drift_the_model_is_right(answers: list[Answered], truth: Truth) -> None:
    """Labels agree with a good model as well as its card says."""
    assert 0.8 < area(answers, labels(truth, answers, 7)) < 0.9


@BOTH
def test_concept_drift_makes_the_model_useless(answers: list[Answered], truth: Truth) -> None:
    """At full concept drift the model is no better than chance, and about as many leave."""
    found = labels(truth, drifted(answers), 7)
    assert 0.4 < area(answers, found) < 0.55
    assert np.mean(np.array(found)) == pytest.approx(0.27, abs=0.06)


def test_equal_features_have_equal_labels(answers: list[Answered]) -> None:
    """A repeated customer gets the same label; another seed draws other labels."""
    some = answers[:500]
    again = [replace(each, features=dict(reversed(list(each.features.items())))) for each in some]
    assert labels(PopulationTruth(), again, 7) == labels(PopulationTruth(), some, 7)
    assert labels(PopulationTruth(), some, 8) != labels(PopulationTruth(), some, 7)


def test_each_answer_has_its_own_drift(answers: list[Answered]) -> None:
    """Answers from before and after a drift, posted together, are each labelled by the rule of their time."""
    some, truth = answers[:100], PopulationTruth()
    mixed = [each if place % 2 else drifted(some)[place] for place, each in enumerate(some)]
    before, after = truth.chances(some), truth.chances(drifted(some))
    assert truth.chances(mixed) == pytest.approx([(before if place % 2 else after)[place] for place in range(100)])


def test_classes_are_drawn_by_their_probabilities() -> None:
    """Of several classes each is as frequent as its probability; at full concept drift as on the card."""
    usual = {"barolo": 0.2, "grignolino": 0.3, "lambrusco": 0.5}
    truth = ModelTruth(golden_card(target=WINE, decision_threshold=None, held_out=HeldOut(9, usual)))
    shares = {"barolo": 0.7, "grignolino": 0.2, "lambrusco": 0.1}
    plain = [Answered(str(place), {"x": place}, "barolo", shares, 0.0) for place in range(2_000)]
    for answers, expected in ((plain, [0.7, 0.2, 0.1]), (drifted(plain), [0.2, 0.3, 0.5])):
        found = labels(truth, answers, 7)
        assert [found.count(each) / 2_000 for each in WINE.classes] == pytest.approx(expected, abs=0.03)


def test_numbers_have_an_error_like_that_on_the_card() -> None:
    """A number is the predicted one within the card's RMSE; at full concept drift it is one of the card's labels."""
    usual = Distribution((100.0, 200.0), (0.5, 1.0))
    truth = ModelTruth(
        golden_card(
            target=DIABETES,
            decision_threshold=None,
            held_out=HeldOut(9, None, usual),
            figures={"rmse": Estimate(5.0, 4.0, 6.0)},
            score_reference=ScoreReference((), (), usual),
        )
    )
    plain = [Answered(str(place), {"x": place}, 1_000.0, None, 0.0) for place in range(2_000)]
    errors = np.array(labels(truth, plain, 7), dtype=np.float64) - 1_000
    assert (errors.mean(), errors.std()) == (pytest.approx(0, abs=0.5), pytest.approx(5, rel=0.05))
    random = np.array(labels(truth, drifted(plain), 7), dtype=np.float64)
    assert random.min() == 100.0
    assert np.quantile(random, 0.75) == pytest.approx(150, abs=5)


@pytest.mark.parametrize("name", REAL)
def test_labels_fit_the_answers_of_each_task(name: str, real_bundle: RealBundle, serve: Serve) -> None:
    """What the service answers can be read, and the service takes the labels that are drawn for it."""
    service = serve(real_bundle(name))
    card = msgspec.convert({**service.client.get("/model").json(), "example": {}}, Card)
    reply = service.post("/predict", {"features": service.bundle.card.example}).json()
    for drift in (0.0, 1.0):
        read = Answered.read(reply, drift)
        (label,) = labels(ModelTruth(card), [read], 7)
        posted = service.post("/feedback", {"items": [{"prediction_id": read.prediction_id, "label": label}]})
        assert posted.status_code == 202


# --- posting them -------------------------------------------------------------------------------------------------


def labelled(
    answers: int, reply: Reply, *, delay_s: float = 0.0, run_s: float = 0.0, rest: bool = True
) -> tuple[Tally, StubServer]:
    """Pass some answers to a labeller that posts to a server with these answers."""

    async def run(client: LoadClient) -> Tally:
        tally, stop = Tally(), asyncio.Event()
        labeller = Labeller(client, TrafficProbe(client.target), tally, ModelTruth(CHURN), delay_s, seed=7)
        for place in range(answers):
            labeller.expect(answer(f"p{place}", {"x": place}, float(place % 2)))
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
        labeller, found = Labeller(client, TrafficProbe(client.target), Tally(), ModelTruth(CHURN), 0.0, seed=7), []
        posting = asyncio.create_task(labeller.run(asyncio.Event()))
        labeller.expect(answer("before", {"x": 0}, 0.0))
        await asyncio.sleep(0.002)
        for step, name in ((labeller.hold, "held"), (labeller.release, "after")):
            step()
            await asyncio.sleep(0.002)
            labeller.expect(answer(name, {"x": 0}, 0.0))
            await asyncio.sleep(0.3)
            found.append(set(posted(server)))
        posting.cancel()
        client.close()
        return found

    with stub_server(lambda _: http(status=202)) as server:
        found = asyncio.run(run(LoadClient(server.target, 1.0)))
    assert found == [{"before"}, {"before", "held", "after"}]
