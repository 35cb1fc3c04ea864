from __future__ import annotations

from tests.service.observed import Observed
from tests.service.telemetry.metrics.measured import samples


def flood(service: Observed, seed: str) -> None:
    """Send what a hostile client would: names, paths, methods, hosts and values of its own."""
    for number in range(10):
        invented = f"{seed}{number}"
        service.client.get(f"/{invented}", headers={"host": f"{invented}.example"})
        service.client.request(invented.upper(), "/predict")
        service.client.request("PURGE", f"/{invented}")
        service.client.get(f"/model?{invented}={invented}", headers={"user-agent": invented})
        service.predict({"net_service": invented})
        service.predict({invented: 1})
        service.predict_customer(invented)
        items = [{"user_id": invented}, {"features": {invented: invented}}, {invented: invented}, invented]
        service.client.post("/predict/batch", json={"items": items})
        service.client.post("/feedback", json={"items": [{invented: 1}]})
        service.client.post("/predict", content=invented, headers={"content-type": f"text/{invented}"})


def test_no_client_can_make_series(busy: Observed) -> None:
    """However much a client invents, a second flood of inventions adds no series to those of the first."""
    flood(busy, "first")
    before = busy.telemetry.collect().series()
    flood(busy, "second")
    assert busy.telemetry.collect().series() == before


def test_no_client_can_make_series_in_prometheus(busy: Observed) -> None:
    """The same holds of `/metrics`."""
    flood(busy, "third")
    before = samples(busy)
    flood(busy, "fourth")
    assert samples(busy) == before


def test_the_number_of_series_is_small(busy: Observed) -> None:
    """All that one process can be made to report stays a few hundred series."""
    flood(busy, "fifth")
    assert len(busy.telemetry.collect().series()) < 200
