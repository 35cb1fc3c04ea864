"""Waits for the service, reads which model it serves, and plans the requests."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from cli.http import OK, REJECTED_KEY, UNAVAILABLE, EndpointError, NotHttp, ServiceAddress, ask_async
from cli.options import stop
from cli.traffic.labels import ModelTruth, PopulationTruth, Truth
from cli.traffic.plan import Load, Plan
from cli.traffic.rows import AnsweredRows, DrawnRows, PopulationRows, Row, Rows
from leeway.model.card import Card
from leeway.schema import CHURN_SCHEMA, FeatureSchema

TRY_EVERY_S = 0.5
TRIED, LEARNED_FROM = 20, 500
"""How many customers are looked up to see whether the service knows ours, and to learn the features of yours."""


class TrafficError(Exception):
    """No traffic can be sent; the message says why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class TrafficOptions(Load):
    """The flags of `leeway traffic`, as its help describes them. Durations in seconds."""

    labels: bool
    label_delay_s: float
    users: Path | None
    max_errors: int
    max_in_flight: int
    timeout_s: float
    wait_s: float

    def __post_init__(self) -> None:
        values = (*astuple(self), *self.mix, *astuple(self.profile))
        if not all(math.isfinite(each) for each in values if isinstance(each, float)):
            stop("leeway traffic takes finite numbers only; --duration 0 runs without end")


@dataclass(frozen=True)
class ServedModel:
    """The model that the service serves."""

    card: Card
    schema: FeatureSchema


@dataclass(frozen=True)
class ServiceClient:
    """The service at `target`; each answer may take `timeout_s` seconds."""

    target: ServiceAddress
    timeout_s: float

    async def model(self, wait_s: float, say: Callable[[str], None]) -> ServedModel:
        """Wait until the service is ready, at most `wait_s` seconds, and read its model card.

        Raises:
            TrafficError: it is not ready in time, or something else answers.
        """
        deadline_s = asyncio.get_running_loop().time() + wait_s
        said = False
        while (reason := await self._why_not_ready()) is not None:
            if asyncio.get_running_loop().time() >= deadline_s:
                hint = "start it with `leeway serve`, or give another address with --url or LEEWAY_URL"
                raise TrafficError(f"the service {reason}; {hint}")
            if not said:
                say(f"Waiting up to {wait_s:g} s for {self.target.url}: the service {reason}")
                said = True
            await asyncio.sleep(TRY_EVERY_S)
        return await self._model()

    async def features_of(self, user_ids: Sequence[str]) -> list[Row]:
        """The features that the service has for these customers, without those it does not know.

        Raises:
            TrafficError: it does not answer, or its snapshot store is unavailable.
        """
        try:
            document = await self._document("/predict/batch", {"items": [{"user_id": each} for each in user_ids]})
            results = document["results"]
            if any(each["error"]["status"] == UNAVAILABLE for each in results if "error" in each):
                raise TrafficError("the service cannot look up customers: its database is unreachable")
            return [each["features_used"] for each in results if "error" not in each]
        except (EndpointError, KeyError, TypeError, ValueError) as error:
            raise TrafficError(f"{self.target.url} does not answer requests for customers ({error})") from error

    async def _why_not_ready(self) -> str | None:
        """Why it is not ready; None if it is."""
        try:
            answer = await ask_async(self.target, "/health/ready", self.timeout_s)
        except NotHttp as error:
            raise self._stranger(str(error)) from error
        except EndpointError as error:
            return str(error)
        if answer.status == UNAVAILABLE:
            return f"at {self.target.url} is not ready"
        if answer.status != OK:
            raise self._stranger(f"GET /health/ready: {answer.status}")
        return None

    async def _model(self) -> ServedModel:
        try:
            card = await self._document("/model")
            no_example: dict[str, Any] = {"example": {}}  # which the response leaves out
            return ServedModel(msgspec.convert({**card, **no_example}, Card), msgspec.convert(card, FeatureSchema))
        except (EndpointError, KeyError, TypeError, AttributeError, ValueError) as error:
            raise self._stranger(f"GET /model: {error}") from error

    async def _document(self, path: str, body: object = None) -> Mapping[str, Any]:
        answer = await ask_async(self.target, path, self.timeout_s, body=body)
        if answer.status in REJECTED_KEY:
            needed = "set LEEWAY_API_KEY to a key with the scopes predict, feedback and operate"
            raise TrafficError(f"{self.target.url} rejects the API key (status {answer.status}): {needed}")
        if answer.status != OK:
            raise ValueError(str(answer.status))
        return answer.document()

    def _stranger(self, reason: str) -> TrafficError:
        hint = "give the address of a Leeway service with --url or LEEWAY_URL"
        return TrafficError(f"{self.target.url} is not a Leeway service ({reason}): {hint}")


async def prepare(out: Console, target: ServiceAddress, options: TrafficOptions) -> tuple[Plan, Truth]:
    """Wait for the service, and plan what is sent and which labels follow."""
    user_ids = None if options.users is None else read_users(options.users)
    service = ServiceClient(target, options.timeout_s)
    say = partial(out.print, markup=False, highlight=False)
    model = await service.model(options.wait_s, say)
    rows, known_ids, truth = await _customers(say, service, model, options, user_ids)
    load = {each.name: getattr(options, each.name) for each in fields(Load)}
    plan = Plan(**load, rows=rows, schema=model.schema, user_ids=known_ids)
    for line in _announcement(target, model, plan):
        say(line)
    return plan, truth


async def _customers(
    say: Callable[[str], None],
    service: ServiceClient,
    model: ServedModel,
    options: TrafficOptions,
    user_ids: Sequence[str] | None,
) -> tuple[Rows, Sequence[str], Truth]:
    """Who is asked for: the given `user_ids`, the built-in population, or rows drawn from the schema."""
    if user_ids is not None:
        rows = await service.features_of(sample(user_ids, LEARNED_FROM, options.seed))
        if not rows:
            raise TrafficError(f"the service knows none of the customers in {options.users}: ingest them first")
        return AnsweredRows(rows), user_ids, ModelTruth(model.card)
    if model.schema.fingerprint != CHURN_SCHEMA.fingerprint:
        return DrawnRows(model.schema), (), ModelTruth(model.card)
    people = PopulationRows(options.profile.strengths(options.drift))
    tried = sample(people.user_ids, TRIED, options.seed)
    known = len(await service.features_of(tried))
    if known < len(tried):
        effect = "the others will answer 404" if known else "all requests go by features"
        say(
            f"The service knows {known} of {len(tried)} of the built-in customers: {effect}. To request customers that"
            " it knows, use --users FILE."
        )
    return people, people.user_ids if known else (), PopulationTruth()


def _announcement(target: ServiceAddress, model: ServedModel, plan: Plan) -> Iterator[str]:
    length = "until Ctrl-C" if plan.duration_s is None else f"for {plan.duration_s:g} s"
    yield f"{target.url} serves {model.card.name} {model.card.version}: {plan.rate:g} requests/s {length}."
    yield f"Features come from {plan.rows.origin}."
    if plan.drift or plan.concept_drift:
        how = f"within {plan.profile.ramp_s:g} s" if plan.profile.ramp_s else "at once"
        end = "" if plan.profile.lasts_s is None else f" for {plan.profile.lasts_s:g} s"
        begins = f"after {plan.profile.after_s:.1f} s, {how}{end}"
        if plan.drift:
            yield f"Drift to {plan.drift:g} {begins}: {plan.rows.moved}. Requests then go by features."
        if plan.concept_drift:
            yield f"Concept drift to {plan.concept_drift:g} {begins}: only labels show it."


def sample(user_ids: Sequence[str], count: int, seed: int) -> list[str]:
    """Some of the ids."""
    return random.Random(seed).sample(list(user_ids), min(count, len(user_ids)))  # noqa: S311 (no secret)


def read_users(path: Path) -> list[str]:
    """The ids in a file, one a line, without empty lines and duplicates.

    Raises:
        TrafficError: the file cannot be read or is empty.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrafficError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    found = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not found:
        raise TrafficError(f"{path} holds no customer ids: write one per line")
    return found


def parse_mix(text: str) -> tuple[float, float, float]:
    """Read weights like `60/30/10`; invalid ones end the command."""
    try:
        by_id, by_features, batches = (float(part) for part in text.split("/"))
    except ValueError:
        stop(f"--mix {text!r}: give three weights, for user_id, features and batches, like 60/30/10")
    found = (by_id, by_features, batches)
    if min(found) < 0 or sum(found) == 0:
        stop(f"--mix {text!r}: weights must not be negative, and not all of them 0")
    return found
