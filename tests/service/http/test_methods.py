from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from service.http.methods import EVERY_PATH, methods_of
from tests.fakes import Service

GET_PATHS = ["/health/live", "/health/ready", "/model", "/docs", "/openapi.json"]


@pytest.mark.parametrize("path", GET_PATHS)
def test_head_is_get_without_a_body(service: Service, path: str) -> None:
    """Load balancers ask with HEAD: the same status and headers."""
    got, headed = service.client.get(path), service.client.head(path)
    assert (headed.status_code, headed.content) == (got.status_code, b"")
    assert headed.headers == got.headers


def test_head_of_other_paths(service: Service) -> None:
    """It is 405 where GET is, and 404 where nothing is."""
    assert [service.client.head(path).status_code for path in ("/predict", "/nowhere")] == [405, 404]


@pytest.mark.parametrize(
    ("path", "allowed"),
    [("/predict", "OPTIONS, POST"), ("/health/ready", "GET, HEAD, OPTIONS")],
)
def test_options_names_the_methods(service: Service, path: str, allowed: str) -> None:
    """204 with `Allow`."""
    response = service.client.options(path)
    assert (response.status_code, response.headers["allow"], response.content) == (204, allowed, b"")


def test_options_of_the_server(service: Service) -> None:
    """`OPTIONS *` asks for the server as a whole."""
    assert methods_of(service.app, {"path": EVERY_PATH}) == {"GET", "HEAD", "OPTIONS", "POST"}


def test_options_of_an_unknown_path_is_not_found(service: Service) -> None:
    """As for every other method."""
    assert service.client.options("/nowhere").status_code == 404


def test_an_unsupported_method_names_the_others(service: Service) -> None:
    """405 with every method of the path."""
    response = service.client.delete("/model")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("path", ["/predict/", "/health/live/", "/docs/", "/model//"])
def test_a_trailing_slash_is_not_redirected(service: Service, path: str) -> None:
    """A redirect would name the scheme and host that this process sees, not those of a proxy in front of it."""
    response = service.client.get(path, follow_redirects=False)
    assert (response.status_code, response.headers.get("location")) == (404, None)
    assert response.json()["type"] == "urn:leeway:problem:not-found"


@pytest.mark.parametrize("prefix", ["", "/leeway"], ids=["removed", "kept"])
def test_a_proxy_may_remove_the_root_path(service: Service, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Routes answer in both cases, and the docs link to the path that browsers see."""
    monkeypatch.setattr(service.app, "root_path", "/leeway")
    with TestClient(service.app) as client:
        assert client.get(f"{prefix}/health/live").status_code == 200
        assert client.options(f"{prefix}/model").headers["allow"] == "GET, HEAD, OPTIONS"
        assert client.get(f"{prefix}/docs/start.js").status_code == 200
        assert client.get(f"{prefix}/openapi.json").json()["servers"] == [{"url": "/leeway"}]
