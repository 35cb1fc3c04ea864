"""Opens the listening socket of a server, on IPv4, on IPv6, or on both."""

from __future__ import annotations

import errno
import logging
import socket
from ipaddress import ip_address

EVERY_IPV6_ADDRESS = "::"
_log = logging.getLogger(__name__)


def listen(host: str, port: int, *, variables: str = "LEEWAY", backlog: int = 2048) -> socket.socket:
    """A listening socket; port 0 takes a free one. On `::`, IPv4 clients appear as `::ffff:192.0.2.1`.

    `variables` is the prefix of the settings that a message names.

    Raises:
        OSError: the address cannot be used; `strerror` says what to do.
    """
    address = host.removeprefix("[").removesuffix("]")
    both = address == EVERY_IPV6_ADDRESS and socket.has_dualstack_ipv6()
    try:
        family = _family(address, port)
        return socket.create_server((address, port), family=family, backlog=backlog, dualstack_ipv6=both)
    except OSError as error:
        reason = str(error.strerror or error).partition(" (while")[0]
        what_to_do = (
            f"free the port, or set {variables}_PORT to another (0: any free port)"
            if error.errno == errno.EADDRINUSE
            else f"set {variables}_HOST to an address of this machine and {variables}_PORT to a port that you may use"
        )
        raise OSError(error.errno, f"cannot listen on {host}:{port} ({reason}): {what_to_do}") from error


def _family(address: str, port: int) -> socket.AddressFamily:
    """IPv4 if the address or name has one."""
    found = socket.getaddrinfo(address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    families = [family for family, *_ in found]
    return socket.AF_INET if socket.AF_INET in families else families[0]


def url_of(listener: socket.socket, scheme: str = "http") -> str:
    """The URL of a server on this socket, without a path."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def warn_if_open(listener: socket.socket, what: str) -> None:
    """Log a warning if other machines may reach this server, which answers without API keys."""
    host, port = listener.getsockname()[:2]
    if not ip_address(host).is_loopback:
        _log.warning(
            "%s listens on %s, port %d, which other machines may reach, and answers without API keys: set"
            " LEEWAY_API_KEYS_FILE (see `leeway keys`), or LEEWAY_ALLOW_ANONYMOUS=on if this is intended",
            what,
            host,
            port,
        )
