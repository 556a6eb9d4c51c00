"""Addresses: what a URL says, checked before anything is done with it."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import NamedTuple
from urllib.parse import urlsplit

from rpc_magic.errors import ConnectError

__all__ = ["Address", "is_address", "parse_address"]

_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})\Z")
_EXAMPLE = (
    "Write localhost:8000, tcp://127.0.0.1:8000 or unix:///path/to.sock, or the name of a running server."
)


class Address(NamedTuple):
    """Where a server listens.

    Attributes:
        scheme: "tcp" or "unix".
        host, port: for "tcp".
        path: for "unix".
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def url(self) -> str:
        """The address as a URL."""
        if self.scheme == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp://{host}:{self.port}"


def is_address(text: str) -> bool:
    """Tell whether `text` is written as an address, and not as the name of a server."""
    return "://" in text or ":" in text


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        pass
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
    except OSError:
        return False
    return bool(found) and all(ipaddress.ip_address(str(one).split("%")[0]).is_loopback for one in found)


def parse_address(text: str) -> Address:
    """Read a URL, or ``host:port``.

    Raises:
        ConnectError: it is no address, its scheme is not built yet, or it leads beyond loopback without TLS.
    """
    if "://" not in text:
        text = f"tcp://{text}"
    scheme, _, rest = text.partition("://")
    if scheme in {"rpc", "ssh"}:
        why = {"rpc": "TLS (rpc://) is", "ssh": "ssh:// is"}[scheme]
        raise ConnectError(
            text,
            f"{why} not built yet",
            "Until then use an SSH tunnel to a loopback port: ssh -L 8000:localhost:8000.",
        )
    if scheme == "unix":
        path = urlsplit(text).path
        if not path.startswith("/") or urlsplit(text).netloc:
            raise ConnectError(text, "a Unix socket's path must be absolute", "Write unix:///path/to.sock.")
        return Address("unix", path=path)
    match = _HOST_PORT.match(rest.rstrip("/")) if scheme == "tcp" else None
    if match is None or int(match[2]) > 65535:
        raise ConnectError(text, "this is no address that rpc_magic knows", _EXAMPLE)
    host = match[1].strip("[]")
    if not _is_loopback(host):
        raise ConnectError(
            text,
            f"{host} is not this machine, and connections beyond it need TLS, which is not built yet",
            "Until then use an SSH tunnel to a loopback port: ssh -L 8000:localhost:8000.",
        )
    return Address("tcp", "127.0.0.1" if host == "localhost" else host, int(match[2]))
