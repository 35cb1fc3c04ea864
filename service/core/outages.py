"""While the snapshot store is unreachable, lookups fail at once instead of each waiting for the same timeout."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from leeway.store.snapshots import Snapshot, SnapshotsUnavailable
from service.core.predictor import SnapshotSource

SLOW_S: Final = 0.5
"""A lookup that fails after this time has waited for a timeout; a faster failure needs no protection."""
RETRY_S: Final = 1.0


class FailFastSnapshots:
    """Wraps a snapshot source: for a second after a lookup has timed out, no other lookup waits.

    Each waiting lookup holds one of forty threads. With more than twenty requests per second for customers, they would
    wait for each other, and answers would take longer with every second of an outage. Safe to call from several
    threads.
    """

    def __init__(self, snapshots: SnapshotSource, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._snapshots = snapshots
        self._clock_s = clock_s
        self._retry_at_s = float("-inf")

    def lookup_many(self, user_ids: Sequence[str]) -> Mapping[str, Snapshot]:
        """See `SnapshotSource`."""
        began_s = self._clock_s()
        if began_s < self._retry_at_s:
            raise SnapshotsUnavailable("the last lookup timed out")
        try:
            return self._snapshots.lookup_many(user_ids)
        except SnapshotsUnavailable:
            if (failed_s := self._clock_s()) - began_s >= SLOW_S:
                self._retry_at_s = failed_s + RETRY_S
            raise

    def is_empty(self) -> bool:
        """See `SnapshotSource`; called only after a lookup."""
        return self._snapshots.is_empty()
