"""An outage of the snapshot store: who waits for it, and for how long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import pytest

from leeway.store.snapshots import Snapshot, SnapshotsUnavailable
from service.core.outages import RETRY_S, FailFastSnapshots

ANN = Snapshot("ann", date(2026, 1, 31), (1,))


class Store:
    """A store that answers, or fails after `failing_after_s`."""

    def __init__(self) -> None:
        self.now_s, self.calls = 0.0, 0
        self.failing_after_s: float | None = None

    def lookup_many(self, user_ids: Sequence[str]) -> Mapping[str, Snapshot]:
        """Find Ann."""
        self.calls += 1
        if self.failing_after_s is not None:
            self.now_s += self.failing_after_s
            raise SnapshotsUnavailable("unreachable")
        return dict.fromkeys(user_ids, ANN)

    def is_empty(self) -> bool:
        """Never."""
        return False


@pytest.fixture
def store() -> Store:
    """A store that answers."""
    return Store()


@pytest.fixture
def snapshots(store: Store) -> FailFastSnapshots:
    """What is under test, with the store's clock."""
    return FailFastSnapshots(store, lambda: store.now_s)


def fail(snapshots: FailFastSnapshots) -> None:
    """A lookup that fails."""
    with pytest.raises(SnapshotsUnavailable):
        snapshots.lookup_many(["ann"])


def test_after_a_timeout_others_fail_at_once(store: Store, snapshots: FailFastSnapshots) -> None:
    """For a second; then one tries again, and the store is used as soon as it answers."""
    store.failing_after_s = 2.0
    for _ in range(3):
        fail(snapshots)
    assert (store.calls, store.now_s) == (1, 2.0)
    store.now_s += RETRY_S
    fail(snapshots)
    assert (store.calls, store.now_s) == (2, 4.0 + RETRY_S)
    store.failing_after_s = None
    store.now_s += RETRY_S
    assert snapshots.lookup_many(["ann"]) == {"ann": ANN}


def test_a_fast_failure_stops_nobody(store: Store, snapshots: FailFastSnapshots) -> None:
    """A lookup that fails by itself does not make others fail."""
    store.failing_after_s = 0.01
    fail(snapshots)
    store.failing_after_s = None
    assert snapshots.lookup_many(["ann"]) == {"ann": ANN}
    assert not snapshots.is_empty()
