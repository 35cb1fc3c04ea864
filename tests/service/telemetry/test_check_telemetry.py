"""How checks look in traces: tail sampling keeps them by their mark, whatever came of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from leeway.data.population import Population
from leeway.model.bundle import Bundle
from leeway.store.record import SYNTHETIC_HEADER
from leeway.telemetry import names
from tests.service.observed import CUSTOMER, Observed, observed_service
from tests.telemetry import attributes_of

BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "a batch": ("/predict/batch", {"items": [{"user_id": CUSTOMER}, {"user_id": CUSTOMER}]}),
    "a batch in part": ("/predict/batch", {"items": [{"user_id": CUSTOMER}, {}]}),
    "a refused batch": ("/predict/batch", {"items": []}),
    "a refused prediction": ("/predict", {"features": {}}),
}


@pytest.fixture(scope="module")
def running(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """One service for all tests here."""
    with observed_service(bundle, tmp_path_factory.mktemp("service"), people) as observed:
        yield observed


@pytest.mark.parametrize("case", BODIES)
def test_a_check_is_marked_in_its_trace(running: Observed, case: str) -> None:
    """The request's span says so, and that of the same request without the mark does not."""
    path, body = BODIES[case]
    running.telemetry.forget_spans()
    for headers in ({SYNTHETIC_HEADER: "true"}, {}):
        running.client.post(path, json=body, headers=headers)
    marks = [attributes_of(span).get(names.PREDICTION_SYNTHETIC) for span in running.telemetry.server_spans()]
    assert marks == [True, None]
