from __future__ import annotations

from drift.result import RECOMMENDATIONS, read_result
from drift.telemetry import probe
from drift.telemetry.gauges import DriftGauges
from drift.verdicts.verdicts import FAR_BEYOND
from leeway.telemetry import names
from observability.grafana.generate import features, states
from observability.grafana.generate.home import KINDS
from observability.grafana.generate.runs import STAGES
from service.telemetry.otel import typicality
from tests.config.boards import BOARDS, panels
from tests.drift.documents import result


def test_a_missing_verdict_is_unknown() -> None:
    """A verdict that nobody reports is shown as unknown, never as ok."""
    (panel,) = [each for each in panels(BOARDS["latency-drift"]) if each["title"] == "Verdicts"]
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]
    assert [target["expr"].rpartition(" or ")[2] for target in panel["targets"]] == ["vector(-1)"] * 4
    assert mapping["options"]["-1"]["text"] == "unknown"


def test_verdicts_mean_what_the_worker_means() -> None:
    """The boards know the questions and states of the worker's verdicts, as numbers."""
    document = result(0)
    gauges = DriftGauges(0.3, None, 30, now_s=lambda: 0.0)
    for number, (text, _) in states.VERDICTS.items():
        verdicts = {question: {"state": text, "evidence": ""} for question in document["verdicts"]}
        gauges.show(read_result(document | {"verdicts": verdicts}), 0.0)
        read = {labels[names.DRIFT_QUESTION]: value for value, labels in gauges.readings()[names.DRIFT_VERDICT]()}
        assert read == ({} if number == states.UNKNOWN else dict.fromkeys(states.QUESTIONS, number))


def test_recommendations_mean_what_the_worker_means() -> None:
    """The boards have a number for each of the worker's recommendations, and one for no worker at all."""
    assert {text for text, _ in states.RECOMMENDATIONS.values()} == {*RECOMMENDATIONS, "no worker"}


def test_kinds_of_input_are_those_of_the_service() -> None:
    """The lines of the three kinds of input are the kinds that the service tells apart."""
    assert list(KINDS) == list(dict.fromkeys(map(typicality, range(10))))


def test_far_beyond_is_what_the_worker_means() -> None:
    """A feature is red from where it is reason enough to act."""
    assert features.FAR_BEYOND == FAR_BEYOND


def test_stages_are_those_of_a_run() -> None:
    """What a run takes its time for names the stages of its trace."""
    assert STAGES == probe.STAGES
