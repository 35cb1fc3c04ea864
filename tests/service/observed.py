"""The whole service in one process, as `leeway serve` builds it, over telemetry in memory."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from fastapi.testclient import TestClient

from leeway.data.population import Population
from leeway.listener import listen
from leeway.model.bundle import Bundle
from leeway.settings import ServiceSettings
from leeway.store.engine import create_tables, open_engine
from leeway.store.snapshots import Snapshots
from leeway.store.tables import tables_for
from leeway.telemetry.exporters import prometheus_text
from leeway.telemetry.logs import configure_logging
from leeway.telemetry.providers import DISABLED, Providers
from service.__main__ import Service, assemble
from service.http.fast_path import FastPath, HttpRequest
from service.process.server import server_config
from service.spool.drainer import DrainerProbe, PredictionWriter, SpoolDrainer
from service.spool.reader import SpoolReader
from tests.service.raw_http import TIMEOUT_S, patched
from tests.telemetry import Changes, Telemetry, telemetry_in_memory

AS_OF = date(2026, 1, 31)
CUSTOMER = "7590-VHVEG"
STRANGER = "0000-NOONE"
LOADED = 20
"""How many customers have snapshots."""
DRAIN_TIMEOUT_S = 5.0

UNUSUAL = {"watch_hours_30d": 700.0}
STRANGE = {**UNUSUAL, "skips_7d": 5_000, "rebuffer_events_7d": 5_000}
"""Changes to the documented example that move one or three features outside the reference's range."""


@dataclass(frozen=True)
class Observed:
    """A service and its telemetry."""

    client: TestClient
    """A client of the ASGI application, in front of which there is no fast path."""
    service: Service
    telemetry: Telemetry
    settings: ServiceSettings
    example: dict[str, Any]

    @property
    def database(self) -> str:
        """The SQLite file."""
        return self.settings.database_url.removeprefix("sqlite:///")

    def changes(self, action: Callable[[], object]) -> Changes:
        """Run `action`; return what it added to the metrics."""
        before = self.telemetry.collect()
        action()
        return Changes(before, self.telemetry.collect())

    def predict(self, features: dict[str, Any] | None = None, **headers: str) -> Any:  # noqa: ANN401 (the client's response, of a library without stable types)
        """Predict for the documented example with these changes."""
        return self.client.post("/predict", json={"features": self.example | (features or {})}, headers=headers)

    def predict_customer(self, user_id: str = CUSTOMER) -> Any:  # noqa: ANN401 (as above)
        """Predict for a customer."""
        return self.client.post("/predict", json={"user_id": user_id})


@contextmanager
def observed_service(
    bundle: Bundle,
    folder: Path,
    people: Population | None,
    *,
    database: str | None = None,
    faults: bool = False,
    faults_hosts: str = "",
    keys_file: Path | None = None,
) -> Iterator[Observed]:
    """Yield a service with twenty of these people in its database if there are any, or with another `database`."""
    own = f"sqlite:///{folder / 'leeway.db'}"
    engine, tables = open_engine(own), tables_for(bundle.schema)
    create_tables(engine, tables)
    if people is not None:
        columns = {name: values[:LOADED] for name, values in people.columns.items()}
        Snapshots(engine, tables).ingest(AS_OF, people.user_ids[:LOADED], columns, None)
    engine.dispose()
    settings = ServiceSettings.read(
        database_url=database or own,
        bundle=bundle.folder,
        spool=folder / "spool",
        faults=faults,
        faults_hosts=faults_hosts,
        api_keys_file=keys_file,
    )
    reader, text = prometheus_text()
    with telemetry_in_memory(more_readers=[reader], metrics_text=text) as telemetry, ExitStack() as stack:
        service = assemble(settings, telemetry.providers, stack)
        stack.enter_context(draining(settings))
        client = stack.enter_context(TestClient(service.app, raise_server_exceptions=False))
        yield Observed(client, service, telemetry, settings, dict(bundle.card.example))


@contextmanager
def draining(settings: ServiceSettings) -> Iterator[None]:
    """Drain the service's spool in a thread of this process."""
    engine = open_engine(settings.database_url)
    drainer = SpoolDrainer(SpoolReader(settings.spool), PredictionWriter(engine).write, DrainerProbe())
    drainer.start()
    try:
        yield
    finally:
        drainer.stop(DRAIN_TIMEOUT_S)
        engine.dispose()


@contextmanager
def silent_service(bundle: Bundle, folder: Path, providers: Providers = DISABLED) -> Iterator[TestClient]:
    """Yield a client of a service with telemetry off."""
    settings = ServiceSettings.read(
        database_url=f"sqlite:///{folder / 'leeway.db'}", bundle=bundle.folder, spool=folder / "spool"
    )
    with ExitStack() as stack:
        service = assemble(settings, providers, stack)
        yield stack.enter_context(TestClient(service.app, raise_server_exceptions=False))


@contextmanager
def served(service: Service) -> Iterator[str]:
    """Serve with Uvicorn in a thread, as the process does; yield the address."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(server_config(service.app, service.fast_path, service.limits))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


@contextmanager
def noting(fast_path: FastPath) -> Iterator[list[HttpRequest]]:
    """Yield the list of requests that the fast path takes."""
    taken: list[HttpRequest] = []

    def noted(submit: Callable[[HttpRequest], None], waiting: HttpRequest) -> None:
        taken.append(waiting)
        submit(waiting)

    with (
        patched(fast_path, "submit", partial(noted, fast_path.submit)),
        patched(fast_path, "submit_batch", partial(noted, fast_path.submit_batch)),
    ):
        yield taken


def broken(*_: object) -> Any:  # noqa: ANN401 (it never returns)
    """A model that fails."""
    raise RuntimeError("the model broke")


@contextmanager
def captured_log() -> Iterator[io.StringIO]:
    """Yield the log, formatted as in production."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # so that `configure_logging` closes none of them
    text = io.StringIO()
    try:
        configure_logging(stream=text)
        yield text
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def entries(text: io.StringIO) -> list[dict[str, Any]]:
    """The log's lines."""
    return [json.loads(line) for line in text.getvalue().splitlines()]


@contextmanager
def slow_lookups(observed: Observed) -> Iterator[tuple[threading.Semaphore, threading.Event]]:
    """Lookups that wait; yield what each of them releases when it begins, and what lets them go on."""
    snapshots, begun, release = observed.service.predictor.snapshots, threading.Semaphore(0), threading.Event()
    lookup_many = snapshots.lookup_many

    def slowly(user_ids: Any) -> Any:  # noqa: ANN401 (as the real one)
        begun.release()
        release.wait(TIMEOUT_S)
        return lookup_many(user_ids)

    with patched(snapshots, "lookup_many", slowly):
        try:
            yield begun, release
        finally:
            release.set()
