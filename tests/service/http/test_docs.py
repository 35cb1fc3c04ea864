from __future__ import annotations

import re

import pytest

from tests.fakes import Service


def test_the_docs_load_nothing_from_elsewhere(service: Service) -> None:
    """All that the page names is relative and served by us, with its media type."""
    page = service.client.get("/docs").text
    names = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert "docs/swagger-ui-bundle.js" in names
    for name in names:
        assert name.startswith(("docs/", "data:"))
        if not name.startswith("data:"):
            assert service.client.get(f"/{name}").headers["content-type"].startswith(("text/javascript", "text/css"))


def test_the_docs_have_a_strict_policy(service: Service) -> None:
    """Scripts come from us only, and none is inline."""
    response = service.client.get("/docs")
    policy = dict(each.strip().split(" ", 1) for each in response.headers["content-security-policy"].split(";"))
    assert (policy["default-src"], policy["script-src"], policy["connect-src"]) == ("'none'", "'self'", "'self'")
    assert "<script>" not in response.text


@pytest.mark.parametrize("path", ["/docs/nowhere.js", "/docs/../app.py", "/redoc"])
def test_other_files_are_not_served(service: Service, path: str) -> None:
    """A request never names a file."""
    assert service.client.get(path).status_code == 404
