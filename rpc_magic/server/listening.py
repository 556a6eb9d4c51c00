"""Opening the listening socket, with errors that say what to do."""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import socket
import stat
from pathlib import Path

from rpc_magic.errors import ConnectError
from rpc_magic.runtime.addresses import Address, is_loopback, parse_address
from rpc_magic.runtime.folders import socket_place

__all__ = ["listen", "reachable"]

_BACKLOG = 512
_ALL = "127.0.0.1, or 0.0.0.0 for other machines too"


def listen(url: str) -> tuple[socket.socket, Address]:
    """Listen at `url`; return the socket and the address with its real port.

    Raises:
        ConnectError: the address is wrong, taken or not ours.
    """
    address = parse_address(url)
    if address.scheme == "unix":
        return _listen_unix(address), address
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address.host, address.port))
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise ConnectError(
                url, f"port {address.port} is taken by another program", "Use --port 0 to get a free one."
            ) from error
        reason = f"cannot listen at {address.place}: {error.strerror}"
        raise ConnectError(url, reason, f"Use an address of this machine, as {_ALL}.") from error
    host, port = sock.getsockname()[:2]
    if address.scheme == "tcp" and not is_loopback(host):  # its name has come to mean another machine
        sock.close()
        raise ConnectError(url, f"{address.host} is not this machine alone", "Leave out tcp:// to use TLS.")
    sock.listen(_BACKLOG)
    sock.setblocking(False)
    return sock, address._replace(port=port)


def reachable(address: Address) -> Address:
    """Return the address under which clients find a server that listens at all addresses of its machine."""
    if address.host not in {"0.0.0.0", "::"}:
        return address
    name = socket.gethostname()
    with contextlib.suppress(OSError):
        if not is_loopback(name) and socket.getaddrinfo(name, None):
            return address._replace(host=name)
    for family, beyond in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        # Nothing is sent: the system says from where it would be.
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((beyond, 9))
            return address._replace(host=probe.getsockname()[0])
    return address._replace(host=name)


def _listen_unix(address: Address) -> socket.socket:
    path = socket_place(address.path)
    try:
        path = _private_parent(path, address) / path.name
        _remove_stale(path, address)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(before)
    except FileNotFoundError as error:
        raise ConnectError(
            address.url, f"there is no folder {path.parent.parent}", "Make it, or use another path."
        ) from error
    except OSError as error:
        reason = f"cannot listen at {path}: {error.strerror or error}"
        raise ConnectError(address.url, reason, "Use another path.") from error
    sock.listen(_BACKLOG)
    sock.setblocking(False)
    return sock


def _private_parent(path: Path, address: Address) -> Path:
    """Return the folder of a socket, made where it is missing; nobody but this user may reach what is in it."""
    folder = path.parent.resolve()
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    reason = f"others may enter {folder}, and nobody else may reach a socket"
    way = "use a path in a folder that does not exist yet, it is made"
    if found.st_uid != os.getuid() or found.st_mode & stat.S_ISVTX:
        raise ConnectError(address.url, reason, f"{way.capitalize()}.")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise ConnectError(address.url, reason, f"Run: chmod 700 {shlex.quote(str(folder))}, or {way}.")
    return folder


def _remove_stale(path: Path, address: Address) -> None:
    """Remove a socket on which nobody listens any more; leave anything else alone."""
    if not path.exists():
        return
    if not path.is_socket():
        raise ConnectError(
            address.url, "there is a file that is no socket", "Remove it, or use another path."
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise ConnectError(address.url, "another server listens there", "Use another path.")
