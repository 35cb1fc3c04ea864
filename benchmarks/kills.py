"""Kills the service and its drainer under load, repeatedly: `python -m benchmarks.kills --kills 1000`.

Clients send predictions all the time. At random moments either the drainer is killed with SIGKILL, which the service
replaces, or the service itself, which is started again on the same spool and database. At the end every prediction that
was answered as recorded must be in the database exactly once. Exits 1 if one is not.

Several services, each with its own spool and database, are killed at the same time: most of the time goes into starts.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

import msgspec

from benchmarks.bundle import make_bundle, requests
from benchmarks.serving.figures import Report
from benchmarks.serving.page import PAGE, provenance, write_section
from benchmarks.serving.processes import free_port
from leeway.shutdown import stop_children
from service.spool.reader import SpoolReader

CLIENTS = 4
PAUSE_S = 0.002
"""Between an answer and the next request of a client, so that clients leave processor time for restarts."""
SERVICE_SHARE = 0.25
MAX_PAUSE_S = 0.5
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 20.0


@dataclass
class Outcome:
    """What the clients received, and what the database holds."""

    kills: Counter[str] = field(default_factory=Counter)
    recorded: list[str] = field(default_factory=list)
    unrecorded: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """Answers other than 200, by status."""
    stored: Counter[str] = field(default_factory=Counter)
    service_restarts_s: list[float] = field(default_factory=list)
    """From each kill of the service to its next answer."""
    drainer_restarts_s: list[float] = field(default_factory=list)
    """From each kill of the drainer to the start of its replacement."""

    def add(self, other: Outcome) -> None:
        """Include what happened to another service."""
        for mine, theirs in ((self.kills, other.kills), (self.errors, other.errors), (self.stored, other.stored)):
            mine.update(theirs)
        self.recorded += other.recorded
        self.unrecorded += other.unrecorded
        self.service_restarts_s += other.service_restarts_s
        self.drainer_restarts_s += other.drainer_restarts_s

    @property
    def lost(self) -> set[str]:
        """What was answered as recorded and is not in the database."""
        return set(self.recorded) - self.stored.keys()

    @property
    def doubled(self) -> list[str]:
        """What is in the database more than once."""
        return [prediction_id for prediction_id, count in self.stored.items() if count > 1]

    def __str__(self) -> str:
        """A few lines for people."""
        shown = [
            f"kills: {self.kills['service']:,} of the service, {self.kills['drainer']:,} of the drainer",
            f"answered as recorded: {len(self.recorded):,}, unrecorded: {self.unrecorded:,}",
            f"answers other than 200: {dict(self.errors) or 'none'}",
            f"in the database: {len(self.stored):,}, lost: {len(self.lost):,}, doubled: {len(self.doubled):,}",
        ]
        for name, times_s in (("service", self.service_restarts_s), ("drainer", self.drainer_restarts_s)):
            if times_s:
                median_s = statistics.median(times_s)
                shown.append(f"restart of the {name}: median {median_s:.2f} s, longest {max(times_s):.2f} s")
        return "\n".join(shown)


class Service:
    """A service that is started repeatedly on the same port, folder and bundle."""

    def __init__(self, bundle: Path, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("LEEWAY_", "OTEL_"))}
        self._environment = kept | {
            "LEEWAY_PORT": str(self.port),
            "LEEWAY_BUNDLE": str(bundle),
            "LEEWAY_DATABASE_URL": f"sqlite:///{folder / 'leeway.db'}",
            "LEEWAY_SPOOL": str(folder / "spool"),
        }
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        """Start it, without waiting."""
        with (self.folder / "service.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "cli.main", "serve"], env=self._environment, stdout=log, stderr=log
            )
        return self.process

    def drainer(self) -> int | None:
        """The process id of its drainer, or None if it has no drainer."""
        with suppress(OSError, ValueError):
            for task in Path(f"/proc/{self.process.pid}/task").iterdir():
                for child in (task / "children").read_text().split():
                    if b"service.spool" in Path(f"/proc/{child}/cmdline").read_bytes():
                        return int(child)
        return None

    def stop(self) -> None:
        """End it, and wait until its last drainer has ended too."""
        stop_children([self.process], STOP_TIMEOUT_S)


def send(port: int, bodies: list[bytes], outcome: Outcome, stopping: threading.Event) -> None:
    """Send predictions one after the other, and keep what is answered, until told to stop."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    place = 0
    while not stopping.wait(PAUSE_S):
        place += 1
        try:
            connection.request("POST", "/predict", bodies[place % len(bodies)], {"content-type": "application/json"})
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):  # killed: nothing was answered
            connection.close()
            time.sleep(0.005)
            continue
        if response.status != http.client.OK:
            outcome.errors[str(response.status)] += 1
            continue
        answer = msgspec.json.decode(content)
        if answer["recorded"]:
            outcome.recorded.append(answer["prediction_id"])
        else:
            outcome.unrecorded += 1
    connection.close()


def wait_for(condition: Callable[[], bool], what: str) -> float:
    """Wait until `condition` is true; return the seconds that it took."""
    started_s = time.monotonic()
    while not condition():
        if time.monotonic() - started_s > START_TIMEOUT_S:
            raise SystemExit(f"{what} took more than {START_TIMEOUT_S:.0f} s")
        time.sleep(0.005)
    return time.monotonic() - started_s


def kill_service(service: Service, outcome: Outcome) -> None:
    """Kill the service, start another one, and wait for its first answer."""
    before_kill = time.monotonic()
    service.process.kill()
    service.process.wait()
    answered = len(outcome.recorded)
    service.start()
    wait_for(lambda: len(outcome.recorded) > answered, "the restart of the service")
    outcome.service_restarts_s.append(time.monotonic() - before_kill)


def kill_drainer(service: Service, outcome: Outcome) -> None:
    """Kill the drainer, and wait for its replacement."""
    wait_for(lambda: service.drainer() is not None, "the start of the drainer")
    pid = service.drainer()
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        outcome.drainer_restarts_s.append(
            wait_for(lambda: service.drainer() not in {None, pid}, "the restart of the drainer")
        )


def run(bundle: Path, folder: Path, kills: int, seed: int = 0, share: float = SERVICE_SHARE) -> Outcome:
    """Kill `kills` times, a `share` of them the service; then stop it and read the database."""
    chance, outcome, stopping = random.Random(seed), Outcome(), threading.Event()  # noqa: S311 (repeatable kills)
    service = Service(bundle, folder)
    bodies = requests(200)
    clients = [
        threading.Thread(target=send, args=(service.port, bodies, outcome, stopping), daemon=True)
        for _ in range(CLIENTS)
    ]
    for client in clients:
        client.start()
    try:
        wait_for(lambda: len(outcome.recorded) > 0, "the start of the service")
        for number in range(kills):
            time.sleep(chance.uniform(0, MAX_PAUSE_S))
            target = "service" if number % round(1 / share) == 0 else "drainer"
            (kill_service if target == "service" else kill_drainer)(service, outcome)
            outcome.kills[target] += 1
        stopping.set()
        for client in clients:
            client.join()
        wait_for(SpoolReader(folder / "spool").is_empty, "draining the spool")
    finally:
        stopping.set()
        service.stop()
    with closing(sqlite3.connect(folder / "leeway.db")) as connection:
        outcome.stored.update(row[0] for row in connection.execute("SELECT prediction_id FROM predictions"))
    return outcome


def run_parallel(bundle: Path, folder: Path, kills: int, seed: int, services: int) -> Outcome:
    """Kill several services at the same time, `kills` times together."""
    shares = [kills // services + (number < kills % services) for number in range(services)]
    folders = [folder / f"service-{number}" for number in range(services)]
    for each in folders:
        each.mkdir()
    with ThreadPoolExecutor(services) as pool:
        seeds = range(seed, seed + services)
        outcomes = list(pool.map(run, repeat(bundle), folders, shares, seeds))
    whole = Outcome()
    for outcome in outcomes:
        whole.add(outcome)
    return whole


def main() -> int:
    """Print what happened; return 1 if a prediction was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=1_000, help="how many in all (default 1,000)")
    parser.add_argument("--services", type=int, default=4, help="how many are killed at the same time (default 4)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, nargs="?", const=PAGE, metavar="PAGE", help=f"write to {PAGE} too")
    options = parser.parse_args()
    report, started_s = Report(), time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_bundle(folder)
        outcome = run_parallel(folder / "bundle", folder, options.kills, options.seed, options.services)
    report.add(f"```\n{outcome}\n```")
    report.check("answered as recorded and lost", len(outcome.lost), at_most=0)
    report.check("stored twice", len(outcome.doubled), at_most=0)
    print(f"\n({time.monotonic() - started_s:.0f} s)")
    if options.write:
        command = f"python -m benchmarks.kills --kills {options.kills} --services {options.services}"
        write_section(options.write, "kills", f"{provenance(command)}\n\n{report.text()}")
    return int(not report.holds)


if __name__ == "__main__":
    sys.exit(main())
