"""One request to `/faults` of a service, and what it means where it is not answered as hoped."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from typing import Any

from cli.http import Answer, HttpClient, Target

WAIT_S = 15.0
"""A fault that holds the service up holds up this request too."""
ALLOW = "`LEEWAY_FAULTS=on leeway serve`, or `LEEWAY_FAULTS=on docker compose up -d service`"
_OK, _NOT_FOUND, _REFUSED = 200, 404, 422


class FaultsError(Exception):
    """It could not be done; the message says why, and what to do."""


def ask(
    target: Target, method: str, body: Mapping[str, Any] | None = None, *, wait_s: float = WAIT_S
) -> dict[str, Any]:
    """What `/faults` answers within `wait_s` seconds: `faults` by name, and `seconds_left`.

    Raises:
        FaultsError: it could not be done.
    """
    try:
        answer = asyncio.run(_send(HttpClient(target, wait_s), method, body))
    except TimeoutError as error:
        reason = f"{target.url} does not answer within {wait_s:g} s"
        raise FaultsError(f"{reason}: try again; faults that hold it up end by themselves") from error
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        hint = f"start it ({ALLOW}), or name another address with --url or LEEWAY_URL"
        raise FaultsError(f"{target.url} cannot be reached ({reason}): {hint}") from error
    return _understood(target.url, answer)


async def _send(client: HttpClient, method: str, body: Mapping[str, Any] | None) -> Answer:
    try:
        if body is None:
            return await client.ask(method, "/faults")
        return await client.ask(
            method, "/faults", json.dumps(body).encode(), headers={"content-type": "application/json"}
        )
    finally:
        client.close()


def _understood(url: str, answer: Answer) -> dict[str, Any]:
    """The document in an answer, where it is the one that was asked for."""
    try:
        document = dict(json.loads(answer.body))
    except (ValueError, TypeError):
        document = {}
    if answer.status == _OK and {"faults", "seconds_left"} <= document.keys():
        return document
    if not str(document.get("type")).startswith("urn:leeway:problem:"):
        stranger = f"{url} answers, but not as Leeway does ({answer.status})"
        raise FaultsError(f"{stranger}: name a Leeway service with --url or LEEWAY_URL")
    if answer.status == _NOT_FOUND:
        raise FaultsError(f"{url} allows no faults: start it anew so that it does ({ALLOW})")
    if answer.status == _REFUSED:
        raise FaultsError(str(document.get("detail")))
    raise FaultsError(f"{url} answered {answer.status}: {document.get('detail')}")
