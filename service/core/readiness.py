"""What the process depends on, asked anew at each call."""

from __future__ import annotations

from typing import Protocol

from leeway.store.predictions import PredictionLogError
from service.http.routes import Check, Readiness
from service.spool.spool import SpoolError


class WritableSpool(Protocol):
    """`service.spool.spool.Spool`, or a fake."""

    def check_writable(self) -> None:
        """Raise `service.spool.spool.SpoolError` where nothing can be written."""
        ...


class ReachableLog(Protocol):
    """`leeway.store.predictions.PredictionLog`, or a fake."""

    def ping(self) -> None:
        """Raise `leeway.store.predictions.PredictionLogError` where the database does not answer."""
        ...


class ReadinessCheck:
    """Says what works. The bundle was verified before anything was served, so it is always there."""

    def __init__(self, spool: WritableSpool, log: ReachableLog) -> None:
        self._spool = spool
        self._log = log

    def __call__(self) -> Readiness:
        """Write to the spool, ask the database, and say how it went."""
        return Readiness(bundle="ok", spool=self._check_spool(), database=self._check_database())

    def _check_spool(self) -> Check:
        try:
            self._spool.check_writable()
        except SpoolError:
            return "failing"
        return "ok"

    def _check_database(self) -> Check:
        try:
            self._log.ping()
        except PredictionLogError:
            return "failing"
        return "ok"
