"""The use case behind `POST /feedback`: what turned out to be true goes to the database at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from leeway.store.predictions import PredictionLabel, PredictionLog, PredictionLogError
from service.http.problems import LabelStoreDown
from service.http.schemas import Label


class Feedback:
    """Keeps labels. Whoever sends them can send them again, so they need no spool."""

    def __init__(self, log: PredictionLog, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._log = log
        self._now = now

    def accept(self, labels: Sequence[Label]) -> None:
        """Keep the labels; the last one of a prediction counts.

        Raises:
            LabelStoreDown: the database cannot be reached now; none was kept.
        """
        try:
            self._log.write_labels(
                [PredictionLabel(str(each.prediction_id), each.label) for each in labels], self._now()
            )
        except PredictionLogError as error:
            raise LabelStoreDown("Labels cannot be stored now; send them again in a while.") from error
