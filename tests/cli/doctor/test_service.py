from __future__ import annotations

import pytest

from cli.doctor.check import CheckResult
from cli.doctor.service import ServiceInfo, SyntheticPrediction, inspect, predict
from leeway.store.record import SYNTHETIC_HEADER
from tests.cli.doctor.replies import PREDICTED, READY, a_service, openapi
from tests.cli.stub_server import JsonReply, json_server
from tests.service.processes import closed_port


def inspected(**changes: JsonReply) -> tuple[CheckResult, ServiceInfo | None]:
    """The result for a service with these answers."""
    with json_server(a_service(**changes)) as server:
        return inspect(server.url, 5)


def predicted(**changes: JsonReply) -> tuple[CheckResult, SyntheticPrediction | None]:
    """The result of a prediction by such a service."""
    with json_server(a_service(**changes)) as server:
        _, info = inspect(server.url, 5)
        assert info is not None
        return predict(server.url, info, 5)


def test_the_service_says_what_it_serves() -> None:
    """Its model, its features, an example, and that it accepts synthetic requests."""
    result, info = inspected()
    assert (result.state, result.found) == ("ok", "ready, model churn v1")
    assert info is not None
    assert (info.name, info.version, info.schema.names) == ("churn", "v1", ("age",))
    assert (info.example, info.accepts_synthetic) == ({"features": {"age": 40}}, True)


def test_its_clock_is_read() -> None:
    """The service's clock is read from its answer."""
    assert inspected()[0].clock_ahead_s == pytest.approx(0, abs=1.5)


def test_an_unreachable_service_fails() -> None:
    """The next step says how to start it."""
    result, info = inspect(f"http://127.0.0.1:{closed_port()}", 5)
    assert (result.state, info) == ("failed", None)
    assert "nothing listens" in result.found
    assert "leeway serve" in str(result.next_step)


@pytest.mark.parametrize("other", [{"ready": (404, {})}, {"model": (200, {})}, {"openapi": (200, {"paths": {}})}])
def test_another_program_fails(other: dict[str, JsonReply]) -> None:
    """Another program at the address is recognized by its answers."""
    result, info = inspected(**other)
    assert (result.state, info) == ("failed", None)
    assert "is not a Leeway service" in result.found


def test_a_page_fails() -> None:
    """An answer that is not JSON is not from a service."""
    result, info = inspected(ready=(200, "<html>"))
    assert (result.state, info) == ("failed", None)


def test_a_service_that_is_not_ready_says_why() -> None:
    """The failing check is named."""
    result, info = inspected(ready=(503, {"checks": {"bundle": "ok", "spool": "failing", "database": "ok"}}))
    assert (result.state, result.found) == ("failed", "not ready: spool fails; model churn v1")
    assert info is not None


def test_a_service_without_its_database_is_a_warning() -> None:
    """It still works: predictions wait in the spool."""
    result, _ = inspected(ready=(200, READY | {"checks": {"bundle": "ok", "spool": "ok", "database": "failing"}}))
    assert result.state == "warning"
    assert "without database" in result.found


def test_a_service_without_its_drainer_is_a_warning() -> None:
    """The next step says where to look; the database is not to blame."""
    checks = {"bundle": "ok", "spool": "ok", "database": "ok", "drainer": "failing"}
    result, _ = inspected(ready=(200, READY | {"checks": checks}))
    assert (result.state, "without drainer" in result.found) == ("warning", True)
    assert "log" in str(result.next_step)


def test_the_prediction_is_synthetic() -> None:
    """The request is marked, so that no drift window counts it; the result has its ids."""
    with json_server(a_service()) as server:
        _, info = inspect(server.url, 5)
        assert info is not None
        result, sent = predict(server.url, info, 5)
    assert result.state == "ok"
    assert sent == SyntheticPrediction(PREDICTED["prediction_id"], PREDICTED["trace_id"])
    assert [each.headers.get(SYNTHETIC_HEADER) for each in server.requests if each.path == "/predict"] == ["true"]


def test_an_older_service_gets_no_request() -> None:
    """A service that does not know synthetic requests would count it in its drift windows."""
    with json_server(a_service(openapi=(200, openapi(accepts_synthetic=False)))) as server:
        _, info = inspect(server.url, 5)
        assert info is not None
        result, sent = predict(server.url, info, 5)
    assert (result.state, sent) == ("failed", None)
    assert "update the service" in str(result.next_step)
    assert "/predict" not in [each.path for each in server.requests]


def test_an_unrecorded_prediction_fails() -> None:
    """The prediction is answered but never stored; its other signals are still followed."""
    result, sent = predicted(predict=(200, PREDICTED | {"recorded": False}))
    assert result.state == "failed"
    assert "not recorded" in result.found
    assert "LEEWAY_SPOOL" in str(result.next_step)
    assert sent is not None


@pytest.mark.parametrize(("status", "next_step"), [(503, "LEEWAY_RECORDING"), (422, "log"), (500, "look at trace abc")])
def test_a_rejection_has_the_services_reason(status: int, next_step: str) -> None:
    """The result has the service's reason, and where to look next."""
    result, sent = predicted(predict=(status, {"detail": "Try again in a while.", "trace_id": "abc"}))
    assert (result.state, sent) == ("failed", None)
    assert result.found == f"HTTP {status}: Try again in a while."
    assert next_step in str(result.next_step)


def test_a_service_that_stops_meanwhile_fails() -> None:
    """The service stops between inspection and prediction."""
    with json_server(a_service()) as server:
        _, info = inspect(server.url, 5)
    assert info is not None
    result, sent = predict(server.url, info, 5)
    assert (result.state, sent) == ("failed", None)
