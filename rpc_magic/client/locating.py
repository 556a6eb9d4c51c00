"""Finding a server and its token: by URL, by name, or embedded."""

from __future__ import annotations

import contextlib
import difflib
import os
import secrets
import subprocess
import threading
from pathlib import Path
from typing import NamedTuple

from rpc_magic.client.dialing import check_listening
from rpc_magic.errors import ConnectError, RpcMagicError, TokenMissingError
from rpc_magic.runtime import known, launch, records, tokens
from rpc_magic.runtime.addresses import Address, is_address, is_loopback, parse_address
from rpc_magic.runtime.folders import socket_path

__all__ = ["Place", "embedded", "has_ended", "locate"]


class Place(NamedTuple):
    """A server that can be connected to.

    Attributes:
        address: its address.
        token: its token.
        token_file: where that was read; empty where it is from no file.
        name: by which it is remembered; may be empty.
        is_embedded: this process has started it for itself.
    """

    address: Address
    token: tokens.Token
    token_file: str = ""
    name: str = ""
    is_embedded: bool = False

    def current_token(self) -> tokens.Token:
        """Return the token as its file has it now: it may have been replaced since."""
        with contextlib.suppress(RpcMagicError):
            if self.token_file:
                return tokens.read_token(Path(self.token_file))
        return self.token


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

    The token is taken, in this order, from `token`, from `token_file`, from the server's record on this machine, from
    where it was when the server was last connected to, or from the file that the environment variable
    RPC_MAGIC_TOKEN_FILE names.

    Raises:
        ConnectError: the URL is wrong, or no server has that name.
        TokenMissingError: no token is known for it.
        RpcMagicError: the token, or its file, is unusable.
    """
    address, record = _address(url)
    remembered = known.by_address(address)
    if remembered is not None and "?fp=" not in url:  # a fingerprint that is stated is the one that is meant
        address = parse_address(remembered.url)
    try:
        secret, path = _token(address.url, token, token_file, record, remembered)
    except TokenMissingError as error:
        no_token = error
    else:
        return Place(address, secret, path, remembered.name if remembered is not None else "")
    check_listening(address)  # there may be no server to have a token for
    raise no_token


def _address(url: str) -> tuple[Address, records.ServerRecord | None]:
    """Return a server's address, and its record when it runs on this machine."""
    if is_address(url):
        address = parse_address(url)
        for record in records.living():
            if record.url == address.url:
                return address, record
            listed = parse_address(record.url)
            if listed.scheme == "rpc" and _may_be(listed, address, is_plain=url.startswith("tcp:")):
                # It uses TLS, as the URL does not say, or its fingerprint is another one, as will be found.
                mark = address.fingerprint or listed.fingerprint
                return address._replace(scheme="rpc", fingerprint=mark), record
        return address, None
    found = records.find(url)
    if found is not None:
        return parse_address(found.url), found
    remembered = known.by_name(url)
    if remembered is not None:
        return parse_address(remembered.url), None
    names = {one.name for one in records.living()} | {one.name for one in known.all_known()} - {""}
    near = difflib.get_close_matches(url, names, 3) or sorted(names)[:5]
    hint = f"Known here: {', '.join(near)}." if near else "None runs here; start one with: rpc-magic serve."
    raise ConnectError(url or "''", "no server of that name runs on this machine or is remembered", hint)


def _may_be(listed: Address, wanted: Address, *, is_plain: bool) -> bool:
    """Tell whether a server of this machine that uses TLS is the one that is wanted, under another spelling."""
    if wanted.scheme == "unix" or is_plain or listed.port != wanted.port:
        return False
    return listed.host == wanted.host or is_loopback(wanted.host)


def _token(
    url: str,
    token: str | bytes | None,
    token_file: str | os.PathLike[str] | None,
    record: records.ServerRecord | None,
    remembered: known.KnownServer | None,
) -> tuple[tokens.Token, str]:
    """Return the token, and the path of its file ("" for none)."""
    if token is not None:
        return tokens.parse_token(token), ""
    stated = token_file
    if stated is None and record is not None:
        stated = record.token_file
    if not stated and remembered is not None:
        stated = remembered.token_file
    stated = stated or os.environ.get(tokens.TOKEN_FILE_VARIABLE)
    if not stated:
        raise TokenMissingError(url)
    path = Path(stated).expanduser()
    return tokens.read_token(path), str(path.absolute())
