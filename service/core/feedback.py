"""The use case behind `POST /feedback`: labels go to the database at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from leeway.store.predictions import PredictionLabel, PredictionLog, PredictionLogError


class LabelStoreDown(Exception):
    """The database cannot take labels now."""


class Feedback:
    """Stores labels. They need no spool: the client that gets an error sends them again."""

    def __init__(self, log: PredictionLog, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._log = log
        self._now = now

    def accept(self, labels: Sequence[PredictionLabel]) -> None:
        """Store the labels; the last one of a prediction counts.

        Raises:
            LabelStoreDown: the database is unreachable; no label was stored.
        """
        try:
            self._log.write_labels(labels, self._now())
        except PredictionLogError as error:
            raise LabelStoreDown("Labels cannot be stored now: send them again later.") from error
