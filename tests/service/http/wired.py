"""A service behind real sockets, of which tests know what the fast path takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from service.http.fast_path import HttpRequest
from tests.service.observed import CUSTOMER, Observed, noting, observed_service, served
from tests.service.raw_http import Response, Wire, post

KEPT = {b"connection": b"keep-alive"}


@dataclass
class Wired:
    """A served service; `taken` lists the requests on the fast path."""

    observed: Observed
    url: str
    taken: list[HttpRequest]

    @property
    def example(self) -> dict[str, Any]:
        """A valid body."""
        return {"features": self.observed.example}

    def ask(self, request: bytes, *, fast: bool) -> Response:
        """Send one request on a connection of its own; check which path it took."""
        self.taken.clear()
        with Wire(self.url) as wire:
            wire.send(request)
            response = wire.read()
        assert bool(self.taken) == fast
        return response


@contextmanager
def wired(observed: Observed) -> Iterator[Wired]:
    """Serve `observed` and note what its fast path takes."""
    assert observed.service.fast_path is not None
    with noting(observed.service.fast_path) as taken, served(observed.service) as url:
        yield Wired(observed, url, taken)


@contextmanager
def wired_service(bundle: Bundle, people: Population, folder: Path) -> Iterator[Wired]:
    """A service that allows faults, and whose threads have started."""
    with observed_service(bundle, folder, people, faults=True) as observed, wired(observed) as started:
        started.ask(post("/predict", started.example, KEPT), fast=True)
        started.ask(post("/predict", {"user_id": CUSTOMER}, {b"leeway-synthetic": b"true"}), fast=False)
        started.ask(post("/predict", {"user_id": CUSTOMER}, KEPT), fast=True)
        yield started
