"""Finding a server and its token: by URL, by name, or embedded."""

from __future__ import annotations

import difflib
import os
import secrets
import subprocess
import threading
from pathlib import Path
from typing import NamedTuple

from rpc_magic.client.dialing import check_listening
from rpc_magic.errors import AuthenticationError, ConnectError, RpcMagicError
from rpc_magic.runtime import launch, records, tokens
from rpc_magic.runtime.addresses import Address, is_address, parse_address
from rpc_magic.runtime.folders import socket_path

__all__ = ["Place", "embedded", "has_ended", "locate"]


class Place(NamedTuple):
    """A server that can be connected to."""

    address: Address
    token: bytes
    is_embedded: bool = False


_lock = threading.Lock()
_embedded: tuple[int, subprocess.Popen[bytes], Place] | None = None


def embedded(timeout: float) -> Place:
    """Return this process's embedded server; start it when there is none (any more).

    It is another process, shared by all connections of this one, and ends with this one.

    Raises:
        ConnectError: it could not be started.
    """
    global _embedded
    with _lock:
        if _embedded is not None and _embedded[0] == os.getpid() and _embedded[1].poll() is None:
            return _embedded[2]
        token = tokens.new_token()
        path = socket_path(f"embedded-{os.getpid()}-{secrets.token_hex(4)}.sock")
        config = launch.SupervisorConfig(
            url=f"unix://{path}",
            watch_pid=os.getpid(),
            is_recorded=False,
            orphan_seconds=0.0,
            cwd=str(Path.cwd()),
        )
        process, url = launch.start(config, token=token, timeout=timeout)
        place = Place(parse_address(url), token, is_embedded=True)
        _embedded = (os.getpid(), process, place)
        return place


def has_ended(seconds: float) -> bool:
    """Tell whether this process's embedded server ends within `seconds`."""
    with _lock:
        if _embedded is None or _embedded[0] != os.getpid():
            return True
        try:
            _embedded[1].wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True


def locate(url: str, token: str | bytes | None, token_file: str | os.PathLike[str] | None) -> Place:
    """Return the place of a server that is named by its URL or name.

    The token is taken, in this order, from `token`, from `token_file`, from the server's record on this machine, or
    from the file that the environment variable RPC_MAGIC_TOKEN_FILE names.

    Raises:
        ConnectError: the URL is wrong, or no server has that name.
        AuthenticationError: no token is known for it.
        RpcMagicError: the token, or its file, is unusable.
    """
    if not is_address(url):
        record = records.find(url)
        if record is None:
            names = [one.name for one in records.living()]
            near = difflib.get_close_matches(url, names, 3) or names[:5]
            hint = (
                f"Known here: {', '.join(near)}."
                if near
                else "None runs here; start one with: rpc-magic serve."
            )
            raise ConnectError(url or "''", "no server of that name runs on this machine", hint)
        address = parse_address(record.url)
    else:
        address = parse_address(url)
        record = records.find(address.url)
    try:
        return Place(address, _token(address.url, token, token_file, record))
    except AuthenticationError as error:
        no_token = error
    check_listening(address)  # there may be no server to have a token for
    raise no_token


def _token(
    url: str,
    token: str | bytes | None,
    token_file: str | os.PathLike[str] | None,
    record: records.ServerRecord | None,
) -> bytes:
    if token is not None:
        return token if isinstance(token, bytes) and len(token) == 32 else tokens.parse_token(_text(token))
    if token_file is not None:
        return tokens.read_token(Path(token_file).expanduser())
    if record is not None and record.token_file:
        return tokens.read_token(Path(record.token_file))
    stated = os.environ.get(tokens.TOKEN_FILE_VARIABLE)
    if stated:
        return tokens.read_token(Path(stated))
    raise AuthenticationError(
        url,
        "no token is known for it, and no server of yours listens there on this machine",
        f"Give --token-file FILE (token_file=...), or set {tokens.TOKEN_FILE_VARIABLE}.",
    )


def _text(token: str | bytes) -> str:
    if isinstance(token, bytes):
        return token.decode("ascii", "replace")
    if not isinstance(token, str):
        raise RpcMagicError(f"a token is a text of 64 hexadecimal digits, not a {type(token).__name__}")
    return token
