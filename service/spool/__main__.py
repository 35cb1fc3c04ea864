"""The drainer's process: `python -m service.spool`, which only `service.process.drainer` starts.

Its first line of standard input says what to drain and where to. It ends when its standard input does, that is, when
the process that started it closes it or dies. It ignores the signals that stop the service, so that the last
answers are still stored. It imports little and emits no telemetry; the service reads its status file.
"""

from __future__ import annotations

import logging
import select
import signal
import sys
from pathlib import Path

import msgspec

from leeway.shutdown import STOP_SIGNALS
from leeway.store.engine import open_engine
from leeway.telemetry.logs import configure_logging
from service.spool.delta import delta_drainer
from service.spool.drainer import DrainerProbe, PredictionWriter, SpoolDrainer
from service.spool.reader import SpoolReader

DRAIN_TIMEOUT_S = 1.0
CHECK_S = 1.0
_log = logging.getLogger("service.drainer")


class DrainOrder(msgspec.Struct, frozen=True):
    """What the drainer receives at its start."""

    spool: str
    database_url: str
    delta: str | None = None
    fsync_always: bool = False


class LoggingProbe(DrainerProbe):
    """Logs what an operator should know."""

    def outage_began(self, error: Exception) -> None:
        """Log the error."""
        _log.warning("predictions cannot be stored now and wait in the spool: %s", error)

    def outage_ended(self) -> None:
        """Log that the outage is over."""
        _log.info("predictions can be stored again; draining the spool")

    def dead_lettered(self, count: int, reason: str) -> None:
        """Log the reason."""
        _log.error("moved %d predictions that can never be stored to the spool's dead letters: %s", count, reason)

    def torn(self, count: int) -> None:
        """Log it; nothing that was answered is lost."""
        _log.warning("moved %d bytes of a write that never completed to the spool's dead letters", count)

    def failed(self, error: Exception) -> None:
        """Log the error; one of the operating system, such as a full disk, needs no traceback."""
        traceback_of = None if isinstance(error, OSError) else error
        _log.error("draining the spool failed and will be retried: %s", error, exc_info=traceback_of)


def main() -> int:
    """Drain until standard input ends; return the exit code, 1 if the drainer ended before that."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    configure_logging()
    with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as source:  # unbuffered, because of `select`
        line = source.readline()
    if not line:
        return 0
    order = msgspec.json.decode(line, type=DrainOrder)
    spool = Path(order.spool)
    spool.mkdir(parents=True, exist_ok=True)  # the service may not have created it yet
    engine = open_engine(order.database_url, fsync_always=order.fsync_always)
    if order.delta is None:
        drainer = SpoolDrainer(SpoolReader(spool), PredictionWriter(engine).write, LoggingProbe())
    else:
        drainer = delta_drainer(spool, order.delta, engine, LoggingProbe())
    drainer.start()
    while drainer.is_running():
        if select.select([sys.stdin], [], [], CHECK_S)[0]:
            drainer.stop(DRAIN_TIMEOUT_S)
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
