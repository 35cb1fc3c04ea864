"""Waits for the service, and asks it what it serves."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from cli.http import Answer, BadAnswer, HttpClient
from cli.traffic.rows import Row
from leeway.schema import FeatureSchema, SchemaError

TRY_EVERY_S = 0.5
ASKED_FOR = 20
LEARNED_FROM = 500
_OK, _NOT_READY = 200, 503


class TrafficError(Exception):
    """There can be no traffic; the message says why, and what to do."""


@dataclass(frozen=True)
class Served:
    """What the service serves. `positive_share` is that of the held-out labels, 0…1."""

    name: str
    version: str
    schema: FeatureSchema
    positive_share: float


async def served(client: HttpClient, wait_s: float, say: Callable[[str], None]) -> Served:
    """Wait until the service is ready, `wait_s` seconds at most, and read its model's card.

    Raises:
        TrafficError: it is not ready in time, or whoever answers is not Leeway.
    """
    url = client.target.url
    deadline_s = asyncio.get_running_loop().time() + wait_s
    said = False
    while (reason := await _unready(client)) is not None:
        if asyncio.get_running_loop().time() >= deadline_s:
            hint = "start it with `leeway serve`, or name another address with --url or LEEWAY_URL"
            raise TrafficError(f"{url} {reason}: {hint}")
        if not said:
            say(f"Waiting for {url}, which {reason} (up to {wait_s:g} s)")
            said = True
        await asyncio.sleep(TRY_EVERY_S)
    return await _model(client)


async def _unready(client: HttpClient) -> str | None:
    """Why it is not ready, None where it is."""
    try:
        answer = await client.ask("GET", "/health/ready")
    except BadAnswer as error:
        raise _stranger(client, str(error)) from error
    except TimeoutError:
        return "does not answer in time"
    except OSError as error:
        return f"cannot be reached ({error.strerror or error})"
    if answer.status == _NOT_READY:
        return "is not ready"
    if answer.status != _OK:
        raise _stranger(client, f"GET /health/ready: {answer.status}")
    return None


async def _model(client: HttpClient) -> Served:
    try:
        answer = await client.ask("GET", "/model")
        card = _document(answer)
        share = (card.get("held_out") or {}).get("positive_share")
        schema = FeatureSchema.from_json(card)
        return Served(str(card["name"]), str(card["version"]), schema, 0.5 if share is None else float(share))
    except (OSError, KeyError, TypeError, AttributeError, ValueError, SchemaError) as error:
        raise _stranger(client, f"GET /model: {error}") from error


def _stranger(client: HttpClient, reason: str) -> TrafficError:
    hint = "name a Leeway service with --url or LEEWAY_URL"
    return TrafficError(f"{client.target.url} answers, but not as Leeway does ({reason}): {hint}")


def _document(answer: Answer) -> Mapping[str, Any]:
    if answer.status != _OK:
        raise ValueError(str(answer.status))
    document = orjson.loads(answer.body)
    if not isinstance(document, dict):
        raise TypeError("no JSON object")
    return document


async def features_of(client: HttpClient, user_ids: Sequence[str]) -> list[Row]:
    """The features with which the service answers for these customers; those it does not know are left out.

    Raises:
        TrafficError: it does not answer, or its snapshot store is down.
    """
    body = orjson.dumps({"items": [{"user_id": each} for each in user_ids]})
    try:
        results = _document(await client.ask("POST", "/predict/batch", body))["results"]
        refused = [each["error"] for each in results if "error" in each]
        if any(each["status"] == _NOT_READY for each in refused):
            raise TrafficError("the service cannot look customers up now: its database is away")
        return [each["features_used"] for each in results if "error" not in each]
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise TrafficError(f"{client.target.url} does not answer for customers ({error})") from error


def sample(user_ids: Sequence[str], count: int, seed: int) -> list[str]:
    """Some of the ids."""
    return random.Random(seed).sample(list(user_ids), min(count, len(user_ids)))  # noqa: S311 (a choice, no secret)


def read_users(path: Path) -> list[str]:
    """The ids in a file, one a line; empty lines are passed over.

    Raises:
        TrafficError: it cannot be read, or holds none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TrafficError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    found = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if not found:
        raise TrafficError(f"{path} holds no ids: give one a line")
    return found
