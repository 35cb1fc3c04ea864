from __future__ import annotations

import pytest

from leeway.model.bundle import Bundle
from leeway.schema import CHURN_SCHEMA, Value
from tests.fakes import SMALLEST_SPOOL_BYTES, Service
from tests.fixtures import Serve

CHECKS = {"bundle": "ok", "spool": "ok", "database": "ok", "drainer": "ok"}


def test_the_process_is_alive(service: Service) -> None:
    """`/health/live` answers ok, whatever the database does."""
    service.lose_database()

    response = service.client.get("/health/live")

    assert (response.status_code, response.json()) == (200, {"status": "ok"})


def test_ready_if_nothing_fails(service: Service) -> None:
    """With bundle, spool and database the service is ready and says ok."""
    response = service.client.get("/health/ready")

    assert (response.status_code, response.json()) == (200, {"status": "ok", "checks": CHECKS})


def test_degraded_without_the_database(service: Service) -> None:
    """Without the database the service is still ready: features are answered and recorded. It says degraded."""
    service.lose_database()

    response = service.client.get("/health/ready")

    assert response.status_code == 200
    assert response.json() == {"status": "degraded", "checks": {**CHECKS, "database": "failing"}}


def test_degraded_without_a_drainer(service: Service, example: dict[str, Value]) -> None:
    """Predictions are still answered and recorded; the status says that nothing moves them to the database."""
    service.drainer.is_alive = False

    response = service.client.get("/health/ready")

    assert response.status_code == 200
    assert response.json() == {"status": "degraded", "checks": {**CHECKS, "drainer": "failing"}}
    assert service.post("/predict", {"features": example}).json()["recorded"] is True


def test_ok_again_once_the_database_is_back(service: Service) -> None:
    """Readiness is checked on each request."""
    service.lose_database()
    service.client.get("/health/ready")
    service.find_database()

    assert service.client.get("/health/ready").json()["status"] == "ok"


def test_not_ready_where_the_spool_cannot_be_written(serve: Serve, bundle: Bundle) -> None:
    """With a full spool nothing can be recorded: 503."""
    service = serve(bundle, spool_limit_bytes=SMALLEST_SPOOL_BYTES)
    service.fill_spool()

    response = service.client.get("/health/ready")

    assert response.status_code == 503
    assert response.json() == {"status": "not ready", "checks": {**CHECKS, "spool": "failing"}}


def test_ready_again_once_the_spool_is_emptied(serve: Serve, bundle: Bundle) -> None:
    """A spool that was full is writable again when its records were moved."""
    service = serve(bundle, spool_limit_bytes=SMALLEST_SPOOL_BYTES)
    service.fill_spool()
    service.move()

    assert service.client.get("/health/ready").status_code == 200


def test_the_model_tells_its_name_and_version(service: Service) -> None:
    """`/model` names the very model that answers."""
    card = service.client.get("/model").json()

    assert (card["name"], card["version"]) == ("churn", service.bundle.version)


def test_the_model_tells_its_features(service: Service) -> None:
    """`/model` lists each feature in order with kind, unit, valid limits and what was seen."""
    features = service.client.get("/model").json()["features"]

    assert [(each["name"], each["kind"], each["unit"], each["nullable"]) for each in features] == [
        (each.name, each.kind, each.unit, each.nullable) for each in CHURN_SCHEMA
    ]
    fee = next(each for each in features if each["name"] == "monthly_fee")
    assert (fee["minimum"], fee["maximum"]) == (0, None)
    assert 18 < fee["seen"]["minimum"] < fee["seen"]["low"] < fee["seen"]["high"] < fee["seen"]["maximum"] < 119


def test_the_model_tells_its_training_figures(service: Service) -> None:
    """`/model` gives rows, ROC AUC with its interval, Brier score and threshold, as the card has them."""
    card = service.client.get("/model").json()

    assert card["trained_on"]["rows"] + card["held_out"]["rows"] == 2_000
    figures = card["figures"]
    assert figures["roc_auc"]["low"] < figures["roc_auc"]["value"] < figures["roc_auc"]["high"]
    assert 0 < figures["brier"]["value"] < 0.25
    assert card["decision_threshold"] == service.bundle.card.decision_threshold


def test_metrics_are_served_where_asked_for(serve: Serve, bundle: Bundle) -> None:
    """`/metrics` gives the text and content type that it is handed."""
    content_type = "text/plain; version=1.0.0; charset=utf-8"
    service = serve(bundle, metrics_text=lambda: (b"leeway_drift_share 0.1\n", content_type))

    response = service.client.get("/metrics")

    assert (response.status_code, response.headers["content-type"]) == (200, content_type)
    assert response.text == "leeway_drift_share 0.1\n"


def test_there_are_no_metrics_where_not_asked_for(service: Service) -> None:
    """Without a text to serve there is no `/metrics`."""
    assert service.client.get("/metrics").status_code == 404


@pytest.mark.parametrize("path", ["/model", "/health/live", "/health/ready", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE", "BREW"])
def test_other_methods_are_rejected(serve: Serve, bundle: Bundle, path: str, method: str) -> None:
    """A method that an address does not take is 405, and the answer says which ones it does."""
    service = serve(bundle, metrics_text=lambda: (b"", "text/plain"))

    response = service.client.request(method, path)

    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
