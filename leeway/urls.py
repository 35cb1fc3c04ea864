"""Redacts URLs for messages and logs."""

from __future__ import annotations

from urllib.parse import urlsplit


def redact_url(url: str) -> str:
    """Scheme, host and port of an HTTP URL: user names, paths and queries are often secret tokens.

    Returns "…" if the host cannot be identified for certain.

    >>> redact_url("https://user:secret@hooks.example:8443/services/token?key=secret")
    'https://hooks.example:8443'
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # an invalid port or an incomplete IPv6 address
        return "…"
    if not host or "@" in f"{parts.path}{parts.query}{parts.fragment}":  # the apparent host is part of a password
        return "…"
    named = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{named}" + (f":{port}" if port is not None else "")
