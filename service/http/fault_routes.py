"""`/faults`: the active faults. The routes exist only where `LEEWAY_FAULTS=on`.

They run on the event loop, so they respond even while every worker thread sleeps in a fault. They respond only to host
names that an attacker cannot register, against DNS rebinding: a web page can make its own host name resolve to this
machine, and then send requests as if it were local. The host must be an address, a name without a dot (`localhost`, a
service of compose), or a name that a setting allows.
"""

import asyncio
from collections.abc import Callable, Collection
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Body, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from service.core.faults import FAULTS, MAX_SECONDS, Faults, FaultSwitch
from service.http.problems import responses

Later = Callable[[float, Callable[[], object]], object]
_LATE_S = 0.05
"""A timer of the event loop may fire slightly early, when the fault is still active."""
_FOREIGN = (
    "/faults does not answer under the name {host}: use an address or a name without a dot, such as localhost, or"
    " start the service with LEEWAY_FAULTS_HOSTS set to this name."
)
_MAX_SHOWN = 100
_EXAMPLE = {"slow_scoring": {"milliseconds": 80, "probability": 0.5}, "seconds": 60}


def _requires(fault: str) -> dict[str, Any]:
    """The JSON schema of a request that sets `fault`."""
    is_set = {"const": True} if fault == "no_snapshots" else {"type": "object"}
    return {"required": [fault], "properties": {fault: is_set}}


class FaultsRequest(Faults):
    """At least one fault, and for how long."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [_requires(name) for name in FAULTS]})

    seconds: float = Field(ge=1, le=MAX_SECONDS, description="The faults end by themselves after this time")


class FaultsResponse(BaseModel):
    """The active faults."""

    faults: dict[str, Any] = Field(description="Each active fault, as it was requested")
    seconds_left: float | None = Field(description="Until they end by themselves; null if no fault is active")


def host_of(header: str) -> str:
    """The name or address in a `Host` header, in lower case; empty where it has none."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:  # an incomplete IPv6 address
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
    """`GET`, `PUT` and `DELETE /faults`; `later` schedules a call, in seconds."""

    async def known_host(request: Request) -> None:
        host = host_of(request.headers.get("host", ""))
        if not (is_unroutable_host(host) or host in more_hosts):
            raise HTTPException(403, _FOREIGN.format(host=host[:_MAX_SHOWN] or "(none)"))

    router = APIRouter(tags=["faults"], dependencies=[Depends(known_host)])

    def response() -> FaultsResponse:
        active = switch.active()
        if active is None:
            return FaultsResponse(faults={}, seconds_left=None)
        return FaultsResponse(faults=active.faults.document(), seconds_left=round(active.seconds_left, 1))

    @router.get("/faults", responses=responses(403))
    async def get_faults() -> FaultsResponse:
        """The active faults."""
        return response()

    @router.put("/faults", responses=responses(400, 403, 413, 415, 422))
    async def set_faults(
        body: Annotated[FaultsRequest, Body(openapi_examples={"slow scoring": {"value": _EXAMPLE}})],
    ) -> FaultsResponse:
        """Activate faults for a time, in place of the active ones."""
        switch.activate(body, body.seconds)
        later(body.seconds + _LATE_S, switch.active)  # logs the end even if no request comes
        return response()

    @router.delete("/faults", responses=responses(403))
    async def clear_faults() -> FaultsResponse:
        """End all faults."""
        switch.clear()
        return response()

    return router
