"""`/faults`: which faults are in force. The routes exist only where `LEEWAY_FAULTS=on`.

They answer on the event loop, so that they do while every worker thread sleeps in a fault. They answer by names alone
that no stranger can own: a page in somebody's browser can make its own name lead to this machine, and then ask here as
if it were at home. So it must be an address, a name without a dot (`localhost`, a service of compose), or one that a
setting allows.
"""

import asyncio
from collections.abc import Callable, Collection
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Body, Depends, Request
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from service.core.faults import MAX_SECONDS, Faults, FaultSwitch
from service.http.problems import responses

Later = Callable[[float, Callable[[], object]], object]
_LATE_S = 0.05
"""A timer of the event loop may come a little early, and would find the fault in force."""
_FOREIGN = (
    "Faults cannot be asked for as {host}: ask by an address or a name without a dot, such as localhost, or set"
    " LEEWAY_FAULTS_HOSTS to this name where the service starts."
)
_MAX_SHOWN = 100
_EXAMPLE = {"slow_scoring": {"milliseconds": 80, "probability": 0.5}, "seconds": 60}


class FaultsRequest(Faults):
    """Faults, and for how long."""

    seconds: float = Field(ge=1, le=MAX_SECONDS, description="Then they end by themselves")


class FaultsAnswer(BaseModel):
    """What is in force."""

    faults: dict[str, Any] = Field(description="Each fault in force, as it was put")
    seconds_left: float | None = Field(description="Until they end by themselves; null where there are none")


def host_of(header: str) -> str:
    """The name or address in a `Host` header, in small letters; empty where there is none."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:  # half an IPv6 address
        return ""


def is_unroutable_host(host: str) -> bool:
    """Whether `host` is an address, or a name that nobody can register."""
    try:
        ip_address(host)
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(".localhost"))
    return True


def _on_this_loop(seconds: float, call: Callable[[], object]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)


def fault_routes(switch: FaultSwitch, later: Later = _on_this_loop, *, more_hosts: Collection[str] = ()) -> APIRouter:
    """`GET`, `PUT` and `DELETE /faults`; `later` calls something after so many seconds."""

    async def known_host(request: Request) -> None:
        host = host_of(request.headers.get("host", ""))
        if not (is_unroutable_host(host) or host in more_hosts):
            raise HTTPException(403, _FOREIGN.format(host=host[:_MAX_SHOWN] or "no name"))

    router = APIRouter(tags=["faults"], dependencies=[Depends(known_host)])

    def answer() -> FaultsAnswer:
        now = switch.in_force()
        if now is None:
            return FaultsAnswer(faults={}, seconds_left=None)
        return FaultsAnswer(faults=now.faults.document(), seconds_left=round(now.seconds_left, 1))

    @router.get("/faults", responses=responses(403))
    async def status() -> FaultsAnswer:
        """Which faults are in force."""
        return answer()

    @router.put("/faults", responses=responses(400, 403, 413, 415, 422))
    async def put(
        body: Annotated[FaultsRequest, Body(openapi_examples={"slow scoring": {"value": _EXAMPLE}})],
    ) -> FaultsAnswer:
        """Put faults in force for a time, in place of those that are."""
        switch.put(body, body.seconds)
        later(body.seconds + _LATE_S, switch.in_force)  # so that the log tells of the end though nobody asks
        return answer()

    @router.delete("/faults", responses=responses(403))
    async def lift() -> FaultsAnswer:
        """Put no fault in force any more."""
        switch.lift()
        return answer()

    return router
