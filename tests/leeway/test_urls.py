from __future__ import annotations

import pytest

from leeway.urls import redact_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://u:hush@hooks.example:8443/services/hush?token=hush#hush", "https://hooks.example:8443"),
        ("http://hush@h", "http://h"),
        ("http://[::1]:8000/hush", "http://[::1]:8000"),
        ("ftp://h/hush", "ftp://h"),
    ],
)
def test_of_an_address_scheme_host_and_port_are_shown(url: str, expected: str) -> None:
    """What may be a secret is left out."""
    assert redact_url(url) == expected


@pytest.mark.parametrize(
    "url", ["", "hush", "u:hush@h", "http://hu/sh@h", "http://hu#sh@h", "http://u:hu/sh@h", "http://u:hush@h:port"]
)
def test_of_what_is_no_address_nothing_is_shown(url: str) -> None:
    """A slash in a password makes half of it look like a host: nothing is told then."""
    assert redact_url(url) == "…"
