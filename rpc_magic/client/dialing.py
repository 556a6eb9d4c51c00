"""From an address to a proved socket."""

from __future__ import annotations

import socket
import time

from rpc_magic.errors import AuthenticationError, ConnectError, ProtocolError
from rpc_magic.runtime.addresses import Address
from rpc_magic.transport.keepalive import keep_alive
from rpc_magic.wire.handshake import (
    CHALLENGE_SIZE,
    VERDICT_SIZE,
    ClientHandshake,
    Role,
    Verdict,
    read_verdict,
)

__all__ = ["check_listening", "dial"]

_NO_TICKET = bytes(16)
_LOOK_SECONDS = 2.0


def dial(
    address: Address,
    token: bytes,
    role: Role,
    client: bytes,
    deadline: float,
    ticket: bytes = _NO_TICKET,
    resume: int = 0,
) -> socket.socket:
    """Connect and go through the handshake.

    Args:
        address: where the server listens.
        token: 32 bytes.
        role: what the connection is for.
        client: the 16 bytes that name this client.
        deadline: moment of `time.monotonic` by which it must be done.
        ticket: of the session, for a connection to one.
        resume: number of the frame that is due, on a connection that resumes an earlier one; else 0.

    Raises:
        AuthenticationError: either side could not prove the token.
        ConnectError: anything else.
    """
    url = address.url
    sock = _connect(address, deadline)
    try:
        handshake = ClientHandshake(url, token, role, client, ticket, resume)
        sock.sendall(handshake.hello)
        sock.sendall(handshake.proof(_receive(sock, CHALLENGE_SIZE, deadline)))
        verdict = read_verdict(_receive(sock, VERDICT_SIZE, deadline))
    except AuthenticationError:
        sock.close()
        raise
    except (TimeoutError, EOFError) as error:
        sock.close()
        reason = (
            "the server did not answer in time"
            if isinstance(error, TimeoutError)
            else "it closed the connection"
        )
        raise ConnectError(url, reason, "Is it an rpc_magic server, and is it well?") from error
    except ProtocolError as error:
        sock.close()
        raise ConnectError(url, str(error), "Check the address.") from error
    except OSError as error:
        sock.close()
        raise ConnectError(url, f"the connection broke: {error.strerror or error}") from error
    except BaseException:
        sock.close()
        raise
    if verdict is Verdict.ADMITTED:
        return sock
    sock.close()
    if verdict is Verdict.REFUSED:
        raise AuthenticationError(
            url,
            "the server refused the token",
            "Check that the token file is this server's (see its start message).",
        )
    reasons = {
        Verdict.BUSY: "the server has as many connections as it takes",
        Verdict.NO_SUCH_SESSION: "the session has ended, or the server has no such thing",
    }
    raise ConnectError(url, reasons[verdict])


def check_listening(address: Address) -> None:
    """Check that something listens there, so that a missing token is not blamed for a missing server.

    Raises:
        ConnectError: nothing does.
    """
    _connect(address, time.monotonic() + _LOOK_SECONDS).close()


def _connect(address: Address, deadline: float) -> socket.socket:
    url = address.url
    family = (
        socket.AF_UNIX
        if address.scheme == "unix"
        else socket.AF_INET6
        if ":" in address.host
        else socket.AF_INET
    )
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        sock.connect(address.path if address.scheme == "unix" else (address.host, address.port))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        sock.close()
        raise ConnectError(
            url,
            "no server listens there",
            "Start one with: rpc-magic serve, or see which run: rpc-magic sessions.",
        ) from error
    except TimeoutError as error:
        sock.close()
        raise ConnectError(url, "nothing answered in time") from error
    except OSError as error:
        sock.close()
        raise ConnectError(url, error.strerror or str(error)) from error
    if sock.family != socket.AF_UNIX:
        keep_alive(sock)
    return sock


def _receive(sock: socket.socket, size: int, deadline: float) -> bytes:
    """Receive exactly `size` bytes."""
    data = b""
    while len(data) < size:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        more = sock.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data
