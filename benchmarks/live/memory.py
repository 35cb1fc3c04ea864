"""The memory of containers over time: samples, and which containers grew."""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final, NamedTuple, TypeAlias

EVERY_S: Final = 15.0
MAX_GROWTH: Final = 0.1
NOISE_MIB: Final = 8.0
"""Growth below this is noise."""
WARM_UP_MIB: Final = {"postgres": 128.0, "jaeger": 512.0}
"""Memory that a container fills once: PostgreSQL's buffers take the table in, up to `shared_buffers`; the tables in
memory of Badger, Jaeger's store, are written to disk once they are full."""


class MemorySample(NamedTuple):
    """The memory of each container in MiB at a time in monotonic seconds."""

    at_s: float
    mib: Mapping[str, float]


Growth: TypeAlias = dict[str, tuple[float, float]]
"""The memory of each container in MiB at the beginning and at the end."""


@contextmanager
def sampled(memory_mib: Callable[[], Mapping[str, float]], every_s: float = EVERY_S) -> Iterator[list[MemorySample]]:
    """Yield a list to which a thread adds samples until the end.

    Raises:
        Exception: a sample failed; raised at the end.
    """
    samples: list[MemorySample] = []
    is_over = threading.Event()

    def sample() -> None:
        while not is_over.is_set():
            at_s = time.monotonic()
            samples.append(MemorySample(at_s, memory_mib()))
            is_over.wait(max(0.0, at_s + every_s - time.monotonic()))

    with ThreadPoolExecutor(1, thread_name_prefix="memory samples") as pool:
        sampling = pool.submit(sample)
        try:
            yield samples
        finally:
            is_over.set()
        sampling.result()


def growth(samples: Sequence[MemorySample]) -> Growth:
    """The medians of the first and of the last third of the samples, of the containers that run at the end."""
    third = max(1, len(samples) // 3)
    return {
        name: (_median(samples[:third], name), _median(samples[-third:], name))
        for name in sorted(samples[-1].mib if samples else {})
    }


def grown(found: Growth) -> list[str]:
    """The containers that grew by more than `MAX_GROWTH`, in words."""
    return [
        f"{name} grew from {before:.0f} to {after:.0f} MiB"
        for name, (before, after) in found.items()
        if after > WARM_UP_MIB.get(name, 0) and after - before > max(NOISE_MIB, MAX_GROWTH * before)
    ]


def in_words(found: Growth) -> str:
    """Each container's memory."""
    return ", ".join(f"{name} {before:.0f} to {after:.0f}" for name, (before, after) in found.items())


def _median(samples: Sequence[MemorySample], name: str) -> float:
    """A container's median; 0 if it did not run then."""
    return statistics.median([each.mib[name] for each in samples if name in each.mib] or [0.0])
