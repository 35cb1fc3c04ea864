"""The documented spans are those that are sent."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import TypeAlias

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from sklearn.linear_model import LogisticRegression

from cli.http import ServiceAddress
from cli.traffic.probe import TrafficProbe
from docs.generate.spans import SPANS, Span
from leeway.data.population import Population
from leeway.keys import Scope, add_key
from leeway.model.bundle import Bundle
from leeway.store.record import SYNTHETIC_HEADER
from leeway.telemetry import names
from tests.drift.worlds import IDENTITY, RATE, WINDOW_S, a_probe, a_world, calm_rows
from tests.leeway.model.bundles import fitted, small_bundle
from tests.service.observed import STRANGE, STRANGER, observed_service
from tests.telemetry import Telemetry, attributes_of, telemetry_in_memory

Spans: TypeAlias = list[ReadableSpan]
OURS = {each for each in vars(names).values() if isinstance(each, str) and "." in each} | {names.DRIFT_SHARE.name}


def documented(constant: str) -> Span:
    """The documented span."""
    return next(each for each in SPANS if each.constant == constant)


def sent(spans: Iterable[ReadableSpan]) -> set[str]:
    """Our attributes on any of the spans, without the instrumentation's `http.*` and `url.*`."""
    return {
        attribute
        for span in spans
        for attribute in attributes_of(span)
        if attribute in OURS and not attribute.startswith(("http.", "url.", "server."))
    }


@pytest.fixture(scope="module")
def of_requests(bundle: Bundle, people: Population, tmp_path_factory: pytest.TempPathFactory) -> Spans:
    """Spans of a customer, an unknown customer, a synthetic request, a batch, a key, a fault, and a database outage."""
    nowhere = "postgresql+psycopg://nobody@127.0.0.1:1/nothing"
    with observed_service(bundle, tmp_path_factory.mktemp("away"), people, database=nowhere) as service:
        service.predict_customer()
        found = service.telemetry.spans()
    folder = tmp_path_factory.mktemp("faulty")
    key = add_key(folder / "keys.json", "test", Scope)
    with observed_service(bundle, folder, people, faults=True, keys_file=folder / "keys.json") as service:
        service.client.headers["x-api-key"] = key
        service.client.put("/faults", json={"slow_scoring": {"milliseconds": 1}, "seconds": 60})
        service.predict_customer()
        found += service.telemetry.spans()
    with observed_service(bundle, tmp_path_factory.mktemp("service"), people) as service:
        service.predict_customer()
        service.predict_customer(STRANGER)
        service.predict(STRANGE, **{SYNTHETIC_HEADER: "true"})
        items = [{"user_id": each} for each in people.user_ids[:2]] + [{"features": service.example}]
        service.client.post("/predict/batch", json={"items": items})
        return found + service.telemetry.spans()


@pytest.mark.parametrize("constant", ["SPAN_SNAPSHOT_LOOKUP", "SPAN_SCORE"])
def test_steps_of_a_request(of_requests: Spans, constant: str) -> None:
    """The child spans of a request have exactly the documented attributes."""
    span = documented(constant)
    assert sent(each for each in of_requests if each.name == span.name) == set(span.attributes)


def test_server_spans(of_requests: Spans) -> None:
    """Server spans have exactly the documented attributes."""
    assert sent(each for each in of_requests if each.kind is SpanKind.SERVER) == set(
        documented("SPAN_SERVER").attributes
    )


@pytest.fixture(scope="module")
def of_runs(tmp_path_factory: pytest.TempPathFactory) -> Telemetry:
    """Telemetry of a successful drift run, and of one whose bundle is missing."""
    with ExitStack() as stack:
        model = small_bundle(tmp_path_factory.mktemp("model") / "bundle", fitted(LogisticRegression()))
        world = stack.enter_context(a_world(tmp_path_factory.mktemp("worker"), model))
        telemetry = stack.enter_context(telemetry_in_memory(IDENTITY))
        world.serve(calm_rows(RATE), traced=True, unusual_features=1)
        world.clock.forward(WINDOW_S)
        world.cycle(a_probe(telemetry, world.bundle, world.clock))()
        (world.bundle.folder / "manifest.json").unlink()
        world.cycle(a_probe(telemetry, world.bundle, world.clock))()
        return telemetry


@pytest.mark.parametrize("span", [each for each in SPANS if each.sender == "drift worker"], ids=lambda span: span.name)
def test_spans_of_a_drift_run(of_runs: Telemetry, span: Span) -> None:
    """A drift run and its stages have exactly the documented attributes."""
    found = of_runs.spans(span.name)
    assert found
    assert {attribute for each in found for attribute in attributes_of(each)} == set(span.attributes)


def test_links_of_a_drift_run(of_runs: Telemetry) -> None:
    """Links to predictions have exactly the documented attributes."""
    links = [link for span in of_runs.spans(names.SPAN_DRIFT_RUN) for link in span.links]
    assert links
    assert {attribute for link in links for attribute in link.attributes or ()} == set(
        documented("SPAN_DRIFT_RUN").link_attributes
    )


def test_spans_of_traffic() -> None:
    """Requests of `leeway traffic` have exactly the documented attributes."""
    with telemetry_in_memory() as telemetry:
        probe = TrafficProbe(ServiceAddress.parse("http://127.0.0.1:8000"), telemetry.providers.tracer)
        probe.sends("/predict", "features", 0.5).answered(200)
        probe.sends("/predict", "features", 0.5).failed(TimeoutError())
        found = {attribute for span in telemetry.spans() for attribute in attributes_of(span)}
    assert found == set(documented("SPAN_CLIENT").attributes)


def test_every_span_is_documented() -> None:
    """Each span name in `names` is documented."""
    assert {each.constant for each in SPANS} == {constant for constant in vars(names) if constant.startswith("SPAN_")}
