from __future__ import annotations

from leeway.model.bundle import Bundle
from leeway.schema import Value
from tests.conftest import Serve
from tests.fakes import Service

Example = dict[str, Value]


def test_an_unknown_customer_is_404(service: Service) -> None:
    """A customer without a snapshot is unknown, and the detail says what to do."""
    response = service.post("/predict", {"user_id": "nobody"})

    assert (response.status_code, response.json()["type"]) == (404, "urn:leeway:problem:unknown-customer")
    assert "check the user_id, or send features" in response.json()["detail"]


def test_an_unknown_customers_id_is_not_repeated(service: Service) -> None:
    """A problem document may end in a log; it does not hold the id."""
    assert "4711-SECRET" not in service.post("/predict", {"user_id": "4711-SECRET"}).text


def test_a_schema_without_snapshots_says_so(serve: Serve, bundle: Bundle) -> None:
    """Where nothing was ever ingested the answer is another 404, which says what to run."""
    response = serve(bundle).post("/predict", {"user_id": "7590-VHVEG"})

    assert (response.status_code, response.json()["type"]) == (404, "urn:leeway:problem:no-snapshots")
    assert "leeway ingest" in response.json()["detail"]


def test_without_the_snapshot_store_customers_get_503(service: Service) -> None:
    """A customer cannot be looked up while the database is away; the detail says that features work."""
    service.lose_database()

    response = service.post("/predict", {"user_id": "7590-VHVEG"})

    assert (response.status_code, response.json()["type"]) == (503, "urn:leeway:problem:snapshot-store-down")
    assert "send features" in response.json()["detail"]


def test_without_the_snapshot_store_features_are_answered(service: Service, example: Example) -> None:
    """Features need no database: the answer is recorded, and reaches the database when it is back."""
    service.lose_database()
    answer = service.post("/predict", {"features": example}).json()
    service.find_database()
    service.move()

    assert answer["recorded"] is True
    assert [row["prediction_id"] for row in service.rows(service.tables.predictions)] == [answer["prediction_id"]]


def test_customers_are_answered_again_once_the_store_is_back(service: Service) -> None:
    """An outage of the database ends without a restart."""
    service.lose_database()
    service.post("/predict", {"user_id": "7590-VHVEG"})
    service.find_database()

    assert service.post("/predict", {"user_id": "7590-VHVEG"}).status_code == 200
