"""The servers on other machines that this user's clients have come to know, as ssh knows hosts.

One JSON file of mode 0600 an address in the user's private folder, ``known/ADDRESS.json``: what it was called, the
fingerprint of its certificate, and where its token is. A token that was typed is kept beside it, on request.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import msgspec

from rpc_magic.runtime.addresses import Address, is_address, parse_address
from rpc_magic.runtime.folders import private_folder, state_folder
from rpc_magic.runtime.privatefiles import writing
from rpc_magic.runtime.records import is_name
from rpc_magic.runtime.tokens import write_token

__all__ = ["KnownServer", "all_known", "by_address", "by_name", "forget", "is_kept", "keep_token", "remember"]


class KnownServer(msgspec.Struct, frozen=True):
    """A server that somebody has been connected to.

    Attributes:
        url: with the fingerprint of its certificate, where it uses TLS.
        name: by which it is reached; empty for none.
        token_file: path of its token; empty where it is not known.
    """

    url: str
    name: str = ""
    token_file: str = ""


def _folder() -> Path:
    return state_folder() / "known"


def _path(address: Address) -> Path:
    return _folder() / f"{quote(address._replace(fingerprint='').url, safe='')}.json"


def _read(path: Path) -> KnownServer | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=KnownServer)
    except (OSError, msgspec.DecodeError):
        return None


def _write(path: Path, server: KnownServer) -> None:
    private_folder(path.parent)
    with writing(path) as file:
        file.write(msgspec.json.encode(server))


def all_known() -> list[KnownServer]:
    """Return all of them."""
    return [server for path in sorted(_folder().glob("*.json")) if (server := _read(path)) is not None]


def by_address(address: Address) -> KnownServer | None:
    """Return the one at an address, whatever its fingerprint, or None."""
    return _read(_path(address))


def by_name(name: str) -> KnownServer | None:
    """Return the one of a name, or None."""
    return next((server for server in all_known() if name and server.name == name), None)


def remember(address: Address, *, wanted: str, told: str, token_file: str) -> None:
    """Note what is known of a server to which a connection was made.

    Args:
        address: with the fingerprint of its certificate.
        wanted: the name that the user has given it, which is taken from any other server; empty for none.
        told: the name that it has itself, which another server keeps.
        token_file: path of its token; empty leaves what was noted.

    Raises:
        OSError: it cannot be written.
    """
    before = by_address(address)
    wanted = wanted if is_name(wanted) else ""
    name = wanted or (before.name if before else "")
    if not name and is_name(told) and by_name(told) is None:
        name = told
    server = KnownServer(address.url, name, token_file or (before.token_file if before else ""))
    if server == before:
        return
    for other in all_known() if wanted else ():
        if other.name == wanted and other != before:
            _write(_path(parse_address(other.url)), msgspec.structs.replace(other, name=""))
    _write(_path(address), server)


def forget(name_or_address: str) -> list[KnownServer]:
    """Forget a server, and the token that was kept for it; return what was known, several where an address has them.

    Args:
        name_or_address: its name, or where it is: ``host:8000`` or its URL, whatever fingerprint that states.

    Raises:
        ConnectError: this can be neither.
        OSError: it cannot be removed.
    """
    if is_address(name_or_address):
        text = name_or_address if "://" in name_or_address else f"rpc://{name_or_address}"
        place = _here(parse_address(text))
        gone = [server for server in all_known() if _here(parse_address(server.url)) == place]
    else:
        gone = [server for server in all_known() if server.name and server.name == name_or_address]
    for server in gone:
        path = _path(parse_address(server.url))
        path.with_suffix(".token").unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    return gone


def _here(address: Address) -> str:
    """Return host and port, with one spelling for this machine."""
    return address._replace(host="127.0.0.1").place if address.host == "localhost" else address.place


def is_kept(address: Address, token_file: str) -> bool:
    """Tell whether a token's file is the one that `keep_token` writes for a server."""
    return Path(token_file) == _folder() / _path(address).with_suffix(".token").name


def keep_token(address: Address, token: bytes) -> Path:
    """Write a token that was typed to a file of the user's alone; return its path.

    Raises:
        OSError: it cannot be written.
    """
    path = private_folder(_folder()) / _path(address).with_suffix(".token").name
    write_token(path, token)
    return path
