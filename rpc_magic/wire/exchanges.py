"""What both sides of a data connection say: large buffers, widgets, the user's modules (protocol page, 5 and 9)."""

from __future__ import annotations

from typing import Any

import msgspec

from rpc_magic.wire.message import Message

__all__ = [
    "AllNamed",
    "CommMessage",
    "FindModule",
    "ForgetChunks",
    "Lacking",
    "Leave",
    "Libraries",
    "ModuleFound",
    "ModulesChanged",
    "Parts",
    "Resumed",
]


# ---------------------------------------------------------------- both ways: large buffers (section 9)


class Parts(Message, tag=23, frozen=True):
    """Chunks of a large buffer of the frame that this transfer ends with. Buffers: those that are not `named`.

    Attributes:
        transfer: its number; they rise.
        buffer: the buffer's place in that frame.
        total: bytes of all large buffers of that frame.
        size: bytes of the buffer.
        start: of the first chunk, in bytes.
        sizes: bytes of each chunk; they follow each other without gaps.
        digests: of all chunks, one after the other.
        named: for each chunk, whether it is only named: the receiver has it, as far as the sender knows.
        packed: the others are compressed, each by itself (Zstandard).
    """

    transfer: int
    buffer: int
    total: int
    size: int
    start: int
    sizes: tuple[int, ...]
    digests: bytes
    named: tuple[bool, ...]
    packed: bool = False


class AllNamed(Message, tag=24, frozen=True):
    """All chunks of a transfer have been told of, some of them only named. Answer: `Lacking`."""

    transfer: int


class Lacking(Message, tag=25, frozen=True):
    """The chunks that were named and are not there, by the buffer's place and the chunk's number in it."""

    transfer: int
    chunks: tuple[tuple[int, int], ...]


class ForgetChunks(Message, tag=26, frozen=True):
    """The content of these chunks changed while they were sent: their digests do not name it."""

    transfer: int
    digests: bytes


class Resumed(Message, tag=27, frozen=True):
    """The worker's first message on a connection that resumes an earlier one; the header says what it has received.

    `is_known`: it goes on where that one broke. Else it knows nothing of it, and both directions begin anew.
    """

    is_known: bool


class Leave(Message, tag=28, frozen=True):
    """The client of calls by name, or of the engine, will not come back: nothing need be kept for it. No answer."""


class NothingMore(Message, tag=29, frozen=True):
    """For a session that has died: the client has been sent all that the session had not sent."""


# ---------------------------------------------------------------- both ways


class CommMessage(Message, tag=30, frozen=True):
    """One message of a widget's comm. Buffers: its binary buffers, as they are."""

    kind: str  # comm_open, comm_msg, comm_close
    comm_id: str
    data: dict[str, Any]
    metadata: dict[str, Any]
    target: str = ""


# ---------------------------------------------------------------- the user's own modules


class FindModule(Message, tag=31, frozen=True):
    """The session asks for a module of the user's. Answer: `ModuleFound`, at once, also while a call runs.

    `name` has no package in front; empty asks for the names that lie in the user's own folders. `paths` asks for the
    content of these files of the module, which an earlier answer has listed; with an empty name, for the text of the
    notebook's cells that have these file names in tracebacks.
    """

    number: int
    name: str
    paths: tuple[str, ...] = ()


class ModuleFound(Message, tag=32, frozen=True):
    """What the client knows of it. Buffers: the content of the files that were asked for, in that order.

    Attributes:
        number: that of the question.
        kind: "local", "extension" (a compiled one: not sent) or "" (not the user's own, or none).
        files: digests of its files by their path below the folder in which it is found.
        extensions: paths of compiled extension modules in it, which are not sent.
        left: paths of files that are not sent because they are over a limit.
        names: names in the user's own folders, when they were asked for.
        distribution: what is to be installed for an installed module of that name; empty when that is not known.
    """

    number: int
    kind: str = ""
    files: dict[str, bytes] = msgspec.field(default_factory=dict)
    extensions: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    distribution: str = ""


class ModulesChanged(Message, tag=33, frozen=True):
    """Files of these modules, which the session had asked for, are others now. It asks again before the next call."""

    names: tuple[str, ...]


class Libraries(Message, tag=34, frozen=True):
    """Versions of libraries, of which the sender refers to something for the first time. No answer; both ways.

    The client sends it in the order of its requests, the worker before the outcome of the call.
    """

    versions: dict[str, str]
