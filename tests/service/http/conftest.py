from __future__ import annotations

from collections.abc import Iterator

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from tests.fakes import Service, service_over
from tests.fixtures import AS_OF


@pytest.fixture(scope="module")
def module_service(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for all tests of a module, with the first twenty customers as of `AS_OF`."""
    with service_over(bundle, tmp_path_factory.mktemp("service")) as started:
        started.ingest(people, AS_OF)
        yield started


@pytest.fixture
def service(module_service: Service) -> Service:
    """The same, without what earlier tests left in its probe, spool and database."""
    module_service.reset()
    return module_service
