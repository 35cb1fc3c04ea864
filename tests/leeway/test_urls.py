from __future__ import annotations

import pytest

from leeway.urls import redact_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://u:secret@hooks.example:8443/services/secret?token=secret#secret", "https://hooks.example:8443"),
        ("http://secret@h", "http://h"),
        ("http://[::1]:8000/secret", "http://[::1]:8000"),
        ("ftp://h/secret", "ftp://h"),
    ],
)
def test_scheme_host_and_port_are_kept(url: str, expected: str) -> None:
    """Everything that may be a secret is removed."""
    assert redact_url(url) == expected


@pytest.mark.parametrize(
    "url",
    ["", "secret", "u:secret@h", "http://hu/sh@h", "http://hu#sh@h", "http://u:hu/sh@h", "http://u:secret@h:port"],
)
def test_an_ambiguous_url_is_redacted_completely(url: str) -> None:
    """With a slash in a password, half of it looks like a host."""
    assert redact_url(url) == "…"
