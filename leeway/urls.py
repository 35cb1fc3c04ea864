"""Shows an address of HTTP where people read it, without what may be a secret."""

from __future__ import annotations

from urllib.parse import urlsplit


def redact_url(url: str) -> str:
    """Scheme, host and port of `url` alone: user names, paths and queries of webhooks are often tokens.

    What cannot be told apart surely is left out; so of what is no address nothing may be left but dots.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # a port that is none, half an IPv6 address
        return "…"
    if not host or "@" in f"{parts.path}{parts.query}{parts.fragment}":  # then what looks like a host is a password
        return "…"
    named = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{named}" + (f":{port}" if port is not None else "")
