"""Meets the service: is it ready, what does it serve; and asks it for one prediction that is marked as a check."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cli.doctor.asking import OK, UNAVAILABLE, Answer, EndpointError, ask
from cli.doctor.finding import Finding
from leeway.schema import FeatureSchema
from leeway.store.record import SYNTHETIC_HEADER

START = "start it with `leeway serve` (in compose: docker compose up --detach service), or name another with LEEWAY_URL"
LOG = "read the service's log (in compose: docker compose logs service)"


@dataclass(frozen=True)
class Served:
    """What the service serves: its model, features that it takes, and whether it knows the mark of a check."""

    name: str
    version: str
    schema: FeatureSchema
    example: Mapping[str, Any]
    knows_checks: bool


@dataclass(frozen=True)
class Sent:
    """The prediction that was asked for. `trace_id` is None where the service has its telemetry off."""

    prediction_id: str
    trace_id: str | None


def meet(url: str, timeout_s: float) -> tuple[Finding, Served | None]:
    """Ask the service how it is and what it serves."""
    try:
        ready = ask(url, "/health/ready", timeout_s)
        state = ready.document()
        card = ask(url, "/model", timeout_s).document()
        api = ask(url, "/openapi.json", timeout_s).document()
        served = _served(card, api)
        finding = _readiness(ready, state, served)
    except EndpointError as error:
        return Finding("service", "failed", f"the service {error}", START), None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        found = f"what answers at {url} is no Leeway ({type(error).__name__}: {error})"
        return Finding("service", "failed", found, START), None
    return finding, served


def _served(card: Mapping[str, Any], api: Mapping[str, Any]) -> Served:
    operation = api["paths"]["/predict"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    return Served(
        name=str(card["name"]),
        version=str(card["version"]),
        schema=FeatureSchema.from_json(card),
        example=next(iter(examples.values()))["value"],
        knows_checks=any(each["name"] == SYNTHETIC_HEADER for each in operation.get("parameters", ())),
    )


def _readiness(ready: Answer, state: Mapping[str, Any], served: Served) -> Finding:
    model = f"model {served.name} {served.version}"
    failing = [name for name, found in state["checks"].items() if found != "ok"]
    if ready.status != OK:
        found, next_step = f"not ready: {', '.join(failing) or 'it does not say why'} failing; {model}", LOG
        return Finding("service", "failed", found, next_step, clock_ahead_s=ready.clock_ahead_s)
    if failing:
        found, next_step = f"ready, without its {', '.join(failing)}; {model}", "bring the database back: meanwhile"
        next_step += " predictions wait in the spool, and customers cannot be looked up"
        return Finding("service", "warning", found, next_step, clock_ahead_s=ready.clock_ahead_s)
    return Finding("service", "ok", f"ready, {model}", clock_ahead_s=ready.clock_ahead_s)


def send(url: str, served: Served, timeout_s: float) -> tuple[Finding, Sent | None]:
    """Ask for one prediction with the docs' example, marked as a check."""
    if not served.knows_checks:
        found = "not sent: this service is older than this command, and would count it in its drift windows"
        return Finding("prediction", "failed", found, "update the service to the version of this command"), None
    try:
        answer = ask(url, "/predict", timeout_s, body=served.example, headers={SYNTHETIC_HEADER: "true"})
        document = answer.document()
    except EndpointError as error:
        return Finding("prediction", "failed", f"the service {error}", LOG), None
    if answer.status != OK:
        return _refused(answer, document), None
    sent = Sent(str(document["prediction_id"]), document["trace_id"])
    if not document["recorded"]:
        found = f"{sent.prediction_id} was answered and not recorded: the spool takes nothing"
        return Finding("prediction", "failed", found, "make room on its disk, or see LEEWAY_SPOOL; then " + LOG), sent
    return Finding("prediction", "ok", f"{sent.prediction_id}, answered in {answer.took_s * 1_000:.0f} ms"), sent


def _refused(answer: Answer, problem: Mapping[str, Any]) -> Finding:
    found = f"refused with status {answer.status}: {problem.get('detail', 'it does not say why')}"
    if answer.status == UNAVAILABLE:
        return Finding("prediction", "failed", found, "make room for the spool, or set LEEWAY_RECORDING=available")
    trace = f", and look at trace {problem['trace_id']}" if problem.get("trace_id") else ""
    return Finding("prediction", "failed", found, LOG + trace)
