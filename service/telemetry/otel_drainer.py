"""Tells OpenTelemetry, and the log, what became of the spool's records."""

from __future__ import annotations

import logging

from opentelemetry.metrics import Meter

from leeway.telemetry import names
from leeway.telemetry.instruments import counter

_log = logging.getLogger("service.mover")


class OTelDrainerProbe:
    """Counts what was written and what never can be; an outage is logged at its beginning and at its end."""

    def __init__(self, meter: Meter) -> None:
        self._written = counter(meter, names.LOG_WRITTEN)
        self._unrecorded = counter(meter, names.LOG_UNRECORDED)
        self._written.add(0)
        self._unrecorded.add(0)

    def moved(self, count: int) -> None:
        """See `service.spool.drainer.DrainerProbe`."""
        self._written.add(count)

    def database_away(self, error: Exception) -> None:
        """See `service.spool.drainer.DrainerProbe`."""
        _log.warning("the database is away; predictions wait in the spool: %s", error)

    def database_back(self) -> None:
        """See `service.spool.drainer.DrainerProbe`."""
        _log.info("the database is back; the spool is being emptied")

    def refused(self, count: int, reason: str) -> None:
        """See `service.spool.drainer.DrainerProbe`."""
        self._unrecorded.add(count)
        _log.error("%d predictions can never be stored and stay in the spool's table `refused`: %s", count, reason)

    def failed(self, error: Exception) -> None:
        """See `service.spool.drainer.DrainerProbe`."""
        _log.error("moving predictions failed and is tried again: %s", error, exc_info=error)
