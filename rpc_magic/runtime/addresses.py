"""Addresses: what a URL says, checked before anything is done with it."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from rpc_magic.errors import ConnectError

__all__ = ["Address", "is_address", "is_loopback", "parse_address", "parse_fingerprint", "short_url"]

_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})\Z")
_FINGERPRINT = re.compile(r"[0-9a-fA-F]{64}\Z")
_EXAMPLE = "Write host:8000, rpc://host:8000/?fp=..., localhost:8000 or unix:///path/to.sock, or the name of a server."


class Address(NamedTuple):
    """Where a server listens.

    Attributes:
        scheme: "tcp" (loopback only), "rpc" (TLS) or "unix".
        host, port: for "tcp" and "rpc".
        path: for "unix".
        fingerprint: for "rpc": the SHA-256 of the server's certificate, 64 hexadecimal digits; empty when unknown.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""
    fingerprint: str = ""

    @property
    def place(self) -> str:
        """Host and port, as in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a URL."""
        if self.scheme == "unix":
            return f"unix://{self.path}"
        if self.scheme == "rpc":
            return f"rpc://{self.place}/" + (f"?fp={self.fingerprint}" if self.fingerprint else "")
        return f"tcp://{self.place}"


def short_url(url: str) -> str:
    """Return a URL without the fingerprint, for where there is little room."""
    return url.partition("/?fp=")[0]


def is_address(text: str) -> bool:
    """Tell whether `text` is written as an address, and not as the name of a server."""
    return "://" in text or ":" in text


def is_loopback(host: str) -> bool:
    """Tell whether `host`, an IP address or a name, is this machine whatever it resolves to."""
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
    """Read a URL, or ``host:port``, which is plain TCP on loopback and TLS beyond it.

    Raises:
        ConnectError: it is no address, its scheme is not built yet, or it leads beyond loopback without TLS.
    """
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "", text
    if scheme == "ssh":
        raise ConnectError(
            text,
            "ssh:// is not built yet",
            "Until then use an SSH tunnel to a loopback port: ssh -L 8000:localhost:8000.",
        )
    if scheme == "unix":
        path = urlsplit(text).path
        if not path.startswith("/") or urlsplit(text).netloc:
            raise ConnectError(text, "a Unix socket's path must be absolute", "Write unix:///path/to.sock.")
        return Address("unix", path=path)
    place, _, query = rest.partition("?")
    match = _HOST_PORT.match(place.rstrip("/")) if scheme in {"", "tcp", "rpc"} else None
    if match is None or int(match[2]) > 65535 or (query and scheme != "rpc"):
        raise ConnectError(text, "this is no address that rpc_magic knows", _EXAMPLE)
    host, port = match[1].strip("[]"), int(match[2])
    if scheme == "rpc":
        return Address("rpc", host, port, fingerprint=_fingerprint(text, query))
    if is_loopback(host):
        return Address("tcp", "127.0.0.1" if host == "localhost" else host, port)
    if scheme == "tcp":
        raise ConnectError(
            text,
            f"{host} is not this machine, and beyond it nothing is sent without TLS",
            f"Leave out tcp://: {match[1]}:{port} uses TLS.",
        )
    return Address("rpc", host, port)


def _fingerprint(text: str, query: str) -> str:
    """Read what follows the question mark of a ``rpc://`` URL."""
    said = dict(parse_qsl(query, keep_blank_values=True))
    if not query:
        return ""
    if set(said) != {"fp"}:
        raise ConnectError(text, "after the ? of an rpc:// URL stands fp=, and nothing else", _EXAMPLE)
    try:
        return parse_fingerprint(said["fp"])
    except ValueError as error:
        raise ConnectError(text, str(error), "Copy the whole URL that the server prints.") from None


def parse_fingerprint(text: str) -> str:
    """Return a fingerprint as it is written in URLs.

    Raises:
        ValueError: it is none.
    """
    if not _FINGERPRINT.match(text):
        raise ValueError(f"a fingerprint has 64 hexadecimal digits, not {len(text)} characters")
    return text.lower()
