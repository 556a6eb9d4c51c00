"""From an address to a proved socket."""

from __future__ import annotations

import shlex
import socket
import ssl
import time

from rpc_magic.errors import AuthenticationError, ConnectError, ProtocolError
from rpc_magic.runtime import known
from rpc_magic.runtime.addresses import Address, is_loopback, parse_address
from rpc_magic.runtime.folders import socket_place
from rpc_magic.transport.keepalive import keep_alive
from rpc_magic.transport.pump import start_pump
from rpc_magic.transport.tls import TlsEnd, client_context
from rpc_magic.wire.handshake import (
    CHALLENGE_SIZE,
    VERDICT_SIZE,
    ClientHandshake,
    Role,
    Verdict,
    read_verdict,
)

__all__ = ["check_listening", "dial", "learn_fingerprint"]

_NO_TICKET = bytes(16)
_LOOK_SECONDS = 2.0
_PIECE = 1 << 14
_WELL = "Is it an rpc_magic server, and is it well?"


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
        AuthenticationError: either side could not prove the token, or the certificate is not the one that is known.
        ConnectError: anything else.
    """
    url = address.url
    sock = _connect(address, deadline)
    try:
        binding = b""
        if address.scheme == "rpc":
            sock, binding = _secure(sock, address, deadline)
        handshake = ClientHandshake(url, token, role, client, ticket, resume, binding)
        sock.sendall(handshake.hello)
        sock.sendall(handshake.proof(_receive(sock, CHALLENGE_SIZE, deadline)))
        verdict = read_verdict(_receive(sock, VERDICT_SIZE, deadline))
    except (OSError, EOFError, ProtocolError) as error:
        sock.close()
        raise _explain(url, error) from error
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
        Verdict.BUSY: "the server has as many connections as it takes (its --limit connections, or open files)",
        Verdict.NO_SUCH_SESSION: "the session has ended, or the server has no such thing",
    }
    raise ConnectError(url, reasons[verdict], is_final=verdict is Verdict.NO_SUCH_SESSION)


def _explain(url: str, error: OSError | EOFError | ProtocolError) -> ConnectError:
    """Return what an error of a handshake means."""
    match error:
        case ssl.SSLError():
            reason = "what answers there does not speak TLS 1.3"
            return ConnectError(url, reason, "Is it an rpc_magic server, and does it use TLS?")
        case TimeoutError():
            return ConnectError(url, "the server did not answer in time", _WELL)
        case EOFError() | ConnectionResetError():
            way = "One that uses TLS is reached by the rpc:// URL that it prints."
            if url.startswith("rpc://"):
                way = "One that uses no TLS is reached on its own machine only, as localhost:PORT."
            hint = f"{_WELL} {way}"
            return ConnectError(url, "it closed the connection", hint)
        case ProtocolError():
            return ConnectError(url, str(error), "Check the address.")
    return ConnectError(url, f"the connection broke: {error.strerror or error}")


def learn_fingerprint(address: Address, deadline: float) -> str:
    """Return the fingerprint of the certificate that a server shows. Only the proof of the token tells whose it is.

    Raises:
        ConnectError: there is no server there that speaks TLS.
    """
    with _connect(address, deadline) as sock:
        try:
            return _shake_hands(sock, deadline).peer_hash().hex()
        except (OSError, EOFError) as error:
            raise _explain(address.url, error) from error


def check_listening(address: Address) -> None:
    """Check that something listens there, so that a missing token is not blamed for a missing server.

    Raises:
        ConnectError: nothing does.
    """
    _connect(address, time.monotonic() + _LOOK_SECONDS).close()


def _connect(address: Address, deadline: float) -> socket.socket:
    url = address.url
    seconds = max(0.001, deadline - time.monotonic())
    try:
        if address.scheme == "unix":
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                sock.settimeout(seconds)
                sock.connect(str(socket_place(address.path)))
            except BaseException:
                sock.close()
                raise
            return sock
        sock = socket.create_connection((address.host, address.port), seconds)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise ConnectError(
            url,
            "no server listens there",
            "Start one with: rpc-magic serve, or see which run: rpc-magic sessions.",
        ) from error
    except TimeoutError as error:
        raise ConnectError(url, "nothing answered in time") from error
    except OSError as error:
        raise ConnectError(url, error.strerror or str(error)) from error
    if address.scheme == "tcp" and not is_loopback(sock.getpeername()[0]):
        sock.close()  # its name has come to mean another machine
        raise ConnectError(url, f"{address.host} is not this machine", "Leave out tcp:// to use TLS.")
    keep_alive(sock)
    return sock


def _secure(sock: socket.socket, address: Address, deadline: float) -> tuple[socket.socket, bytes]:
    """Go through the handshake of TLS; return the plain socket that stands for the connection, and its binding."""
    tls = _shake_hands(sock, deadline)
    binding = tls.peer_hash()
    if address.fingerprint and binding.hex() != address.fingerprint:
        raise _another_certificate(address, binding.hex())
    return start_pump(tls, sock), binding


def _another_certificate(address: Address, found: str) -> AuthenticationError:
    """Return the error for a certificate that is not the one that the URL states, or that is remembered."""
    remembered = known.by_address(address)
    way = "use the URL that it prints now"
    if remembered is not None and parse_address(remembered.url).fingerprint == address.fingerprint:
        way += f", or forget the old one with: rpc-magic known --forget {shlex.quote(address.place)}"
    return AuthenticationError(
        address.url,
        f"its certificate is not the one that is known, its fingerprint is {found}",
        "Unless the server was given a new key, somebody else has answered in its place. If it was, " + way,
        fault="certificate",
    )


def _shake_hands(sock: socket.socket, deadline: float) -> TlsEnd:
    """Go through the handshake of TLS."""
    tls = TlsEnd(client_context(), is_server=False)
    while not tls.shake_hands():
        sock.sendall(tls.data_to_send())
        tls.receive(_receive_some(sock, _PIECE, deadline))
    sock.sendall(tls.data_to_send())
    return tls


def _receive(sock: socket.socket, size: int, deadline: float) -> bytes:
    """Receive exactly `size` bytes."""
    data = b""
    while len(data) < size:
        data += _receive_some(sock, size - len(data), deadline)
    return data


def _receive_some(sock: socket.socket, size: int, deadline: float) -> bytes:
    """Receive at least a byte, and at most `size`."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    sock.settimeout(left)
    data = sock.recv(size)
    if not data:
        raise EOFError
    return data
