"""What the process depends on, checked at each call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from leeway.store.predictions import PredictionLog, PredictionLogError
from service.spool.spool import Spool, SpoolError

Health: TypeAlias = Literal["ok", "failing"]


@dataclass(frozen=True)
class Readiness:
    """The state of what the process depends on. The bundle was verified before the service started."""

    spool: Health
    database: Health
    drainer: Health
    bundle: Health = "ok"

    @property
    def ready(self) -> bool:
        """Whether predictions can be answered and recorded."""
        return self.bundle == self.spool == "ok"

    @property
    def status(self) -> Literal["ok", "degraded", "not ready"]:
        """The whole: without the database or the drainer it is degraded, without the spool it is not ready."""
        if not self.ready:
            return "not ready"
        return "ok" if self.database == self.drainer == "ok" else "degraded"


def check_readiness(spool: Spool, log: PredictionLog, is_draining: Callable[[], bool]) -> Readiness:
    """Write to the spool, ping the database, and ask whether the drainer is alive."""
    return Readiness(
        spool=_health(spool.check_writable),
        database=_health(log.ping),
        drainer="ok" if is_draining() else "failing",
    )


def _health(check: Callable[[], None]) -> Health:
    try:
        check()
    except (SpoolError, PredictionLogError):
        return "failing"
    return "ok"
