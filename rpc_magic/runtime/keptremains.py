"""What sessions that have died had left when their server was told to end, in files that one started again finds.

They lie beside the kept sessions (`rpc_magic.runtime.keptsessions`), two for each such session, named by a digest of
its ticket: its spool as it was, which nobody but a session reads, and a record of how it died (JSON).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from rpc_magic.runtime.privatefiles import writing

__all__ = ["Death", "read_all", "remove", "write"]

_SPOOL, _DEATH = ".spool", ".death"
_WORDS = 10_000
"""Characters of the last words that are kept."""


class Death(msgspec.Struct, frozen=True):
    """How a session died.

    Attributes:
        session, is_private: its name, and whether it was its client's alone.
        owner, client: digests of its ticket, and of what names its last client.
        cause, last_words: as the client is told.
    """

    session: str
    is_private: bool
    owner: str
    client: str
    cause: str
    last_words: str


def write(folder: Path, death: Death, spool: int) -> None:
    """Write the files of a session; `spool` is the descriptor of its spool, whose place is not moved.

    Raises:
        OSError: they cannot be written; there are none then.
    """
    try:
        with (
            Path(f"/proc/self/fd/{spool}").open("rb") as source,
            writing(_file(folder, death, _SPOOL)) as out,
        ):
            shutil.copyfileobj(source, out)
        with writing(_file(folder, death, _DEATH)) as out:
            out.write(
                msgspec.json.encode(msgspec.structs.replace(death, last_words=death.last_words[-_WORDS:]))
            )
    except OSError:
        remove(folder, death)
        raise


def read_all(folder: Path) -> Iterator[tuple[Death, int]]:
    """Return what the files of a folder tell, each with a descriptor of the spool; the files stay."""
    for file in sorted(folder.glob(f"*{_DEATH}")):
        with contextlib.suppress(OSError, msgspec.MsgspecError):
            death = msgspec.json.decode(file.read_bytes(), type=Death)
            yield death, os.open(_file(folder, death, _SPOOL), os.O_RDONLY | os.O_CLOEXEC)


def remove(folder: Path, death: Death) -> None:
    """Remove the files of a session."""
    for suffix in (_DEATH, _SPOOL):
        with contextlib.suppress(OSError):
            _file(folder, death, suffix).unlink(missing_ok=True)


def _file(folder: Path, death: Death, suffix: str) -> Path:
    return folder / f"died-{death.owner}{suffix}"
