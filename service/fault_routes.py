"""`/faults`: which faults are in force. The routes exist only where `LEEWAY_FAULTS=on`.

They answer on the event loop, so that they do while every worker thread sleeps in a fault.
"""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import BaseModel, Field

from service.faults import MAX_SECONDS, Faults, FaultSwitch
from service.problems import responses

Later = Callable[[float, Callable[[], object]], object]
_LATE_S = 0.05
"""A timer of the event loop may come a little early, and would find the fault in force."""
_EXAMPLE = {"slow_scoring": {"milliseconds": 80, "probability": 0.5}, "seconds": 60}


class FaultsRequest(Faults):
    """Faults, and for how long."""

    seconds: float = Field(ge=1, le=MAX_SECONDS, description="Then they end by themselves")


class FaultsAnswer(BaseModel):
    """What is in force."""

    faults: dict[str, Any] = Field(description="Each fault in force, as it was put")
    seconds_left: float | None = Field(description="Until they end by themselves; null where there are none")


def _on_this_loop(seconds: float, call: Callable[[], object]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)


def fault_routes(switch: FaultSwitch, later: Later = _on_this_loop) -> APIRouter:
    """`GET`, `PUT` and `DELETE /faults`; `later` calls something after so many seconds."""
    router = APIRouter(tags=["faults"])

    def answer() -> FaultsAnswer:
        now = switch.in_force()
        if now is None:
            return FaultsAnswer(faults={}, seconds_left=None)
        return FaultsAnswer(faults=now.faults.document(), seconds_left=round(now.seconds_left, 1))

    @router.get("/faults")
    async def status() -> FaultsAnswer:
        """Which faults are in force."""
        return answer()

    @router.put("/faults", responses=responses(400, 413, 415, 422))
    async def put(
        body: Annotated[FaultsRequest, Body(openapi_examples={"slow scoring": {"value": _EXAMPLE}})],
    ) -> FaultsAnswer:
        """Put faults in force for a time, in place of those that are."""
        switch.put(body, body.seconds)
        later(body.seconds + _LATE_S, switch.in_force)  # so that the log tells of the end though nobody asks
        return answer()

    @router.delete("/faults")
    async def lift() -> FaultsAnswer:
        """Put no fault in force any more."""
        switch.lift()
        return answer()

    return router
