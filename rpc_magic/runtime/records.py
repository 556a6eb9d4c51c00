"""Records of the servers that run on this machine, by which a client finds them and their tokens.

One JSON file of mode 0600 a server in the runtime folder, ``servers/NAME.json``. A record whose process is gone is
removed by whoever meets it.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import msgspec

from rpc_magic.errors import RpcMagicError
from rpc_magic.runtime.folders import private_folder, runtime_folder
from rpc_magic.runtime.privatefiles import writing
from rpc_magic.runtime.processes import start_time

__all__ = ["ServerRecord", "check_name", "find", "is_name", "living", "remove", "write"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z")


class ServerRecord(msgspec.Struct, frozen=True):
    """One running server.

    Attributes:
        name: its name.
        url: where it listens.
        pid: of its supervisor.
        started: see `rpc_magic.runtime.processes.start_time`.
        token_file: path of its token.
    """

    name: str
    url: str
    pid: int
    started: int
    token_file: str


def is_name(name: str) -> bool:
    """Tell whether `name` can name a server."""
    return bool(_NAME.match(name))


def check_name(name: str) -> str:
    """Return `name` when it can name a server.

    Raises:
        RpcMagicError: it cannot.
    """
    if not is_name(name):
        raise RpcMagicError(
            f"{name!r} cannot name a server: use up to 64 letters, digits, '_', '.' and '-', a letter first"
        )
    return name


def _folder() -> Path:
    return private_folder(runtime_folder() / "servers")


def write(record: ServerRecord) -> None:
    """Write a record; an existing one of that name is replaced in one step."""
    with writing(_folder() / f"{record.name}.json") as file:
        file.write(msgspec.json.encode(record))


def remove(record: ServerRecord) -> None:
    """Remove a record, unless another server of that name has replaced it."""
    path = _folder() / f"{record.name}.json"
    if _read(path) == record:
        path.unlink(missing_ok=True)


def _read(path: Path) -> ServerRecord | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=ServerRecord)
    except (OSError, msgspec.DecodeError):
        return None


def living() -> list[ServerRecord]:
    """Return the records of the servers that are alive, by name."""
    found = []
    for path in sorted(_folder().glob("*.json")):
        record = _read(path)
        if record is not None and start_time(record.pid) == record.started:
            found.append(record)
        else:
            with contextlib.suppress(OSError):
                path.unlink()
    return found


def find(name_or_url: str) -> ServerRecord | None:
    """Return the living server of this name or URL, or None."""
    for record in living():
        if name_or_url in {record.name, record.url}:
            return record
    return None
