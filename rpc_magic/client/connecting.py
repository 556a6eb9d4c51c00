"""Connecting: `connect` finds a server, attaches to it, and makes a `Connection`."""

from __future__ import annotations

import contextlib
import os
import sys
import time

from rpc_magic.client import restoring
from rpc_magic.client.attachment import Attachment
from rpc_magic.client.connection import Connection
from rpc_magic.client.dialing import learn_fingerprint
from rpc_magic.client.locating import Place, embedded, has_ended, locate
from rpc_magic.client.typed import ask_token
from rpc_magic.errors import (
    AuthenticationError,
    ConnectError,
    ConnectionLostError,
    RpcMagicError,
    TokenMissingError,
)
from rpc_magic.runtime import known, tokens

__all__ = ["connect", "keep_token"]

_DYING_SECONDS = 0.5
"""How long a killed process takes to be gone, at most."""


def connect(
    url: str | None = None,
    *,
    token: str | bytes | None = None,
    token_file: str | os.PathLike[str] | None = None,
    session: str | None = None,
    name: str | None = None,
    results: str = "any",
    timeout: float = 10.0,
    take: bool = False,
) -> Connection:
    """Connect to a server.

    Args:
        url: ``rpc://host:8000/?fp=...`` or ``host:8000`` (TLS), ``localhost:8000`` or ``tcp://127.0.0.1:8000``
            (plain, on this machine), ``unix:///path.sock``, or the name of a server on this machine. None takes an
            embedded server: another process on this machine, one for each client process, shared by its connections
            and ended with it.
        token: 64 hexadecimal digits. For servers of this user on this machine it is found by itself. Where none is
            known, and standard input is a terminal, it is asked for there, unseen.
        token_file: a file that holds the token, mode 0600.
        session: name of a session that outlives the connection; None for a private one, which ends with it.
        name: what to call the connection; None takes the server's name.
        results: "any", or "data": values other than plain data, numpy arrays and Arrow tables are not loaded but
            stay on the server, so that the server cannot run code here.
        timeout: seconds to connect.
        take: take the session over when another client holds it.

    Raises:
        ConnectError: no server there, or it would not have us.
        AuthenticationError: the token is missing or wrong; `TokenMissingError` where a remembered one is wrong.
        SessionInUseError: another client holds the session.
    """
    if results not in {"any", "data"}:
        raise ValueError(f"results must be 'any' or 'data', not {results!r}")
    if url is not None and not isinstance(url, str):
        raise TypeError(
            f"url is a text, as 'localhost:8000', or the name of a server, not {type(url).__name__}"
        )
    if url is None and (token is not None or token_file is not None):
        del token  # tracebacks show variables
        raise ValueError("a token is for a server that runs already: give its URL or its name as well")
    try:
        token = tokens.parse_token(token) if token is not None else None
    except RpcMagicError:
        del token  # tracebacks show variables
        raise
    place = embedded(timeout) if url is None else _locate(url, token, token_file)
    if place.address.scheme == "rpc" and not place.address.fingerprint:
        # From here on it is one certificate that is spoken to: the one over which the token is proved.
        mark = learn_fingerprint(place.address, time.monotonic() + timeout)
        place = place._replace(address=place.address._replace(fingerprint=mark))

    def attach() -> Attachment:
        return Attachment(
            place,
            session or "",
            take=take,
            is_plain_only=results == "data",
            timeout=timeout,
            former=lambda welcome: restoring.former_ticket(welcome, session or "", name or ""),
        )

    try:
        attachment = attach()
    except AuthenticationError as error:
        if not place.token_file or error.fault != "token":
            raise
        if known.is_kept(place.address, place.token_file):
            raise TokenMissingError(error.url, is_stale=True) from None
        hint = f"The token was read from {place.token_file}. {error.hint}"
        raise AuthenticationError(error.url, error.reason, hint) from None
    except (ConnectError, ConnectionLostError):
        # An embedded server that was killed a moment ago may still seem to run.
        if url is not None or not has_ended(_DYING_SECONDS):
            raise
        place = embedded(timeout)
        attachment = attach()
    versions = attachment.welcome.versions
    sys.stderr.write(
        attachment.links.compare({name: versions.get(name, "") for name in ("rpc_magic", "dill")})
    )
    if place.address.scheme == "rpc":
        _remember(place, name or "", attachment.welcome.name)
    connection = Connection(
        attachment,
        name=name or ("local" if url is None else place.name),
        is_plain_only=results == "data",
    )
    restoring.note(attachment, name or "")
    sys.stderr.write(restoring.restore(connection))
    return connection


def _locate(url: str, token: tokens.Token | None, token_file: str | os.PathLike[str] | None) -> Place:
    """Find a server; ask for its token where none is known and somebody sits at a terminal."""
    try:
        return locate(url, token, token_file)
    except TokenMissingError as error:
        missing = error
    typed = ask_token(missing.url)
    if typed is None:
        raise missing
    return locate(url, typed, None)


def _remember(place: Place, wanted: str, told: str) -> None:
    """Note a server that was connected to; a folder that cannot be used is no reason not to be connected."""
    with contextlib.suppress(OSError, RpcMagicError):
        known.remember(place.address, wanted=wanted, told=told, token_file=place.token_file)


def keep_token(connection: Connection) -> None:
    """Have the token of a connection found from now on wherever this user connects to that server.

    Raises:
        RpcMagicError: it cannot be kept.
    """
    place = connection.attachment.place
    try:
        path = place.token_file or str(known.keep_token(place.address, place.token))
        known.remember(place.address, wanted="", told=connection.attachment.welcome.name, token_file=path)
    except OSError as error:
        raise RpcMagicError(f"the token cannot be kept: {error.strerror or error}") from error
