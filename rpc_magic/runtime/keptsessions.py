"""What a server that was told to end has kept of its sessions, in files that one started again finds.

Each server has a private folder (0700), named by a digest of its name or address. There a session has two files of
mode 0600, named by a digest of its name or, when it is private, of its ticket: the variables, as ``%rpc_save`` writes
them, and the record, which says whose they are. Where calls have ended and nobody has received it, a third one holds
what they have said. The worker writes them; the supervisor reads the record alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from pathlib import Path

import msgspec

from rpc_magic.errors import RpcMagicError
from rpc_magic.runtime.folders import private_folder, state_folder
from rpc_magic.runtime.privatefiles import writing

__all__ = [
    "KeptRecord",
    "calls_of",
    "digest_of",
    "discard",
    "file_of",
    "folder_of",
    "read_record",
    "remove",
    "sweep",
    "write_record",
]

_VARIABLES, _CALLS, _RECORD = ".session", ".calls", ".record"
_CLAUSE = 200
"""Characters of a reason that are kept."""
_NAMES = 1000
"""Names of variables in a record, of those that were saved and of the others."""

KeptFile = tuple[Path, int]
"""A file and when it was last written, in nanoseconds as the file system has it."""


class KeptRecord(msgspec.Struct, frozen=True):
    """What was kept of a session.

    Attributes:
        session: its name.
        owner: digest of its ticket.
        at, until: when it was kept, and when that is deleted; seconds of the system's clock.
        names: its variables.
        left: those that could not be kept, each with the reason.
        reason: why nothing could be kept, a clause; empty when something was.
    """

    session: str
    owner: str
    at: float
    until: float
    names: tuple[str, ...] = ()
    left: dict[str, str] = {}
    reason: str = ""


def digest_of(secret: bytes | str) -> str:
    """Return what stands in a file or its name for a ticket, or for a name that need not be one of a file."""
    data = secret.encode() if isinstance(secret, str) else secret
    return hashlib.sha256(data).hexdigest()[:32]


def _base() -> Path:
    return private_folder(state_folder() / "kept")


def folder_of(identity: str) -> Path:
    """Return where a server's sessions are kept; `identity` is its name, or its address where it has none.

    Raises:
        OSError, RpcMagicError: it cannot be made, or is not this user's alone.
    """
    return private_folder(_base() / digest_of(identity))


def file_of(folder: Path, session: str, ticket: bytes) -> Path:
    """Return the file of a session's variables; `session` is empty for a private one."""
    return folder / ((digest_of(session) if session else f"private-{digest_of(ticket)}") + _VARIABLES)


def calls_of(file: Path) -> Path:
    """Return the file of what calls have said, that belongs to the file of a session's variables."""
    return file.with_suffix(_CALLS)


def write_record(file: Path, record: KeptRecord) -> None:
    """Write the record that belongs to the file of a session's variables.

    Raises:
        OSError: it cannot be written.
    """
    short = msgspec.structs.replace(
        record,
        names=record.names[:_NAMES],
        left={name: reason[:_CLAUSE] for name, reason in list(record.left.items())[:_NAMES]},
        reason=record.reason[:_CLAUSE],
    )
    with writing(file.with_suffix(_RECORD)) as out:
        out.write(msgspec.json.encode(short))


def read_record(file: Path) -> KeptRecord | None:
    """Return the record that belongs to the file of a session's variables; None when there is none that is good."""
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(file.with_suffix(_RECORD).read_bytes(), type=KeptRecord)
    return None


def remove(file: Path, *, record_only: bool = False) -> None:
    """Remove what was kept of a session; with `record_only`, no more than what offers it."""
    file.with_suffix(_RECORD).unlink(missing_ok=True)
    if not record_only:
        file.unlink(missing_ok=True)
        calls_of(file).unlink(missing_ok=True)


def sweep(ttl: float) -> dict[KeptFile, float]:
    """Remove, of all servers of this user, what is older than it may be; return the seconds that the rest may still be.

    A file without a record, which nobody is offered any more, may be as old as `ttl`. The time of day is looked at here
    alone: a server that runs on counts the seconds.
    """
    now = time.time()
    due: dict[KeptFile, float] = {}
    with contextlib.suppress(OSError, RpcMagicError):
        for folder in list(_base().iterdir()):
            for file in folder.iterdir():
                record = read_record(file)
                with contextlib.suppress(OSError):
                    stat = file.stat()
                    until = record.until if record is not None else stat.st_mtime + ttl
                    due[file, stat.st_mtime_ns] = until - now
    for kept in [kept for kept, seconds in due.items() if seconds < 0]:
        del due[kept]
        discard(kept)
    with contextlib.suppress(OSError, RpcMagicError):
        for folder in list(_base().iterdir()):
            with contextlib.suppress(OSError):
                folder.rmdir()  # it is not removed while it holds something
    return due


def discard(kept: KeptFile) -> None:
    """Remove a file that `sweep` has told of, unless it was written anew since."""
    file, changed = kept
    with contextlib.suppress(OSError):
        if file.stat().st_mtime_ns == changed:
            file.unlink()
