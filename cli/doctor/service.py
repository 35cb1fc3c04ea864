"""Checks the service: is it ready, what does it serve, does it answer a synthetic request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from cli.doctor.check import CheckResult
from cli.http import OK, REJECTED_KEY, UNAVAILABLE, EndpointError, HttpResponse, ask
from leeway.schema import FeatureSchema
from leeway.store.record import SYNTHETIC_HEADER

START = "start it with `leeway serve` (in compose: docker compose up --detach service), or correct LEEWAY_URL"
DATABASE_NEXT_STEP = "restore the database: until then predictions wait in the spool and customers cannot be looked up"
KEY = "set LEEWAY_API_KEY to a key with the scopes predict and operate (`leeway keys add`)"
LOG = "read the service's log (in compose: docker compose logs service)"
DRAINER_NEXT_STEP = f"{LOG}: the process that moves predictions from the spool to the database is not running"


@dataclass(frozen=True)
class ServiceInfo:
    """The served model, an example of its features, and whether the service accepts synthetic requests."""

    name: str
    version: str
    schema: FeatureSchema
    example: Mapping[str, Any]
    accepts_synthetic: bool


@dataclass(frozen=True)
class SyntheticPrediction:
    """The prediction that was requested. `trace_id` is None if the service's telemetry is off."""

    prediction_id: str
    trace_id: str | None


def inspect(url: str, timeout_s: float, api_key: str | None = None) -> tuple[CheckResult, ServiceInfo | None]:
    """Whether the service is ready, and what it serves."""
    try:
        ready = ask(url, "/health/ready", timeout_s)
        health = ready.document()
        card = ask(url, "/model", timeout_s, api_key=api_key)
        if card.status in REJECTED_KEY:
            found = f"HTTP {card.status}: {card.document().get('detail')}"
            return CheckResult("service", "failed", found, KEY), None
        openapi = ask(url, "/openapi.json", timeout_s, api_key=api_key)
        info = _info(card.document(), openapi.document())
        result = _readiness(ready, health, info)
    except EndpointError as error:
        return CheckResult("service", "failed", f"the service {error}", START), None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        found = f"the server at {url} is not a Leeway service ({type(error).__name__}: {error})"
        return CheckResult("service", "failed", found, START), None
    return result, info


def _info(card: Mapping[str, Any], openapi: Mapping[str, Any]) -> ServiceInfo:
    operation = openapi["paths"]["/predict"]["post"]
    examples = operation["requestBody"]["content"]["application/json"]["examples"]
    return ServiceInfo(
        name=str(card["name"]),
        version=str(card["version"]),
        schema=msgspec.convert(card, FeatureSchema),
        example=next(iter(examples.values()))["value"],
        accepts_synthetic=any(each["name"] == SYNTHETIC_HEADER for each in operation.get("parameters", ())),
    )


def _readiness(ready: HttpResponse, health: Mapping[str, Any], info: ServiceInfo) -> CheckResult:
    model, ahead_s = f"model {info.name} {info.version}", ready.clock_ahead_s
    failing = ", ".join(name for name, found in health["checks"].items() if found != "ok")
    if ready.status != OK:
        found = f"not ready: {failing or 'an unknown check'} fails; {model}"
        return CheckResult("service", "failed", found, LOG, clock_ahead_s=ahead_s)
    if failing:
        next_step = DRAINER_NEXT_STEP if failing == "drainer" else DATABASE_NEXT_STEP
        return CheckResult("service", "warning", f"ready, but without {failing}; {model}", next_step, None, ahead_s)
    return CheckResult("service", "ok", f"ready, {model}", clock_ahead_s=ahead_s)


def predict(
    url: str, info: ServiceInfo, timeout_s: float, api_key: str | None = None
) -> tuple[CheckResult, SyntheticPrediction | None]:
    """Request one synthetic prediction, with the example of the API's docs."""
    check = "prediction"
    if not info.accepts_synthetic:
        found = "not requested: this service is older than this command and would count it in its drift windows"
        return CheckResult(check, "failed", found, "update the service to this command's version"), None
    try:
        headers = {SYNTHETIC_HEADER: "true"}
        answer = ask(url, "/predict", timeout_s, body=info.example, headers=headers, api_key=api_key)
        document = answer.document()
    except EndpointError as error:
        return CheckResult(check, "failed", f"the service {error}", LOG), None
    if answer.status != OK:
        return _rejection(answer, document), None
    prediction = SyntheticPrediction(str(document["prediction_id"]), document["trace_id"])
    if not document["recorded"]:
        found = f"{prediction.prediction_id} was answered but not recorded: the spool accepts no records"
        return CheckResult(
            check, "failed", found, "free space on its disk, or check LEEWAY_SPOOL; then " + LOG
        ), prediction
    return CheckResult(
        check, "ok", f"{prediction.prediction_id}, answered in {answer.took_s * 1_000:.0f} ms"
    ), prediction


def _rejection(answer: HttpResponse, problem: Mapping[str, Any]) -> CheckResult:
    found = f"HTTP {answer.status}: {problem.get('detail', 'no reason given')}"
    if answer.status == UNAVAILABLE:
        return CheckResult("prediction", "failed", found, "free space for the spool, or set LEEWAY_RECORDING=available")
    if answer.status in REJECTED_KEY:
        return CheckResult("prediction", "failed", found, KEY)
    trace = f", and look at trace {problem['trace_id']}" if problem.get("trace_id") else ""
    return CheckResult("prediction", "failed", found, LOG + trace)
