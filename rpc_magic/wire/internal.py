"""What a server's own processes say to each other, one message a packet, descriptors beside it.

These never leave the machine: supervisor, keeper, workers and the exposing program are joined by
sequenced-packet Unix sockets (`rpc_magic.transport.packets`).
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct

import msgspec

from rpc_magic.wire.decoding import decoder


class Internal(msgspec.Struct, frozen=True, array_like=True, tag_field="t"):
    """Base of everything that is said between a server's processes."""


class SessionFacts(msgspec.Struct, frozen=True, array_like=True):
    """What a supervisor that comes later has to know of a session.

    `client` and `title` are those of the client that had it last; `began` is CLOCK_MONOTONIC, in seconds.
    """

    name: str
    is_private: bool
    client: bytes
    title: str
    began: float


# ---------------------------------------------------------------- supervisor to keeper


class Fork(Internal, tag=1, frozen=True):
    """Make a worker. Descriptors: none. Answer: `Forked`, `ForkFailed`.

    `cwd`, `path`, `environ` are the client's when it is on the same machine; empty keeps the server's. `payload`,
    `calls` and `output` are limits: those of `ServerSettings` for a message, for calls that wait, and for output.
    """

    ticket: bytes
    session: str
    cwd: str
    path: tuple[str, ...]
    environ: dict[str, str]
    payload: int
    calls: int = 100_000
    output: int = 1 << 30


class EndWorker(Internal, tag=2, frozen=True):
    """End a worker and all its descendants; `Exited` follows."""

    ticket: bytes


class EndAll(Internal, tag=3, frozen=True):
    """End all workers, then yourself."""


class Settle(Internal, tag=4, frozen=True):
    """Wait at the Unix socket `path` for a supervisor that comes after this one; the server's address is `url`."""

    path: str
    url: str


class Remember(Internal, tag=5, frozen=True):
    """Keep this for a supervisor that comes later."""

    ticket: bytes
    facts: SessionFacts


class Forget(Internal, tag=6, frozen=True):
    """Let go of what an ended worker has left: nobody needs it any more."""

    ticket: bytes


# ---------------------------------------------------------------- keeper to supervisor


class KeeperReady(Internal, tag=10, frozen=True):
    """The template is loaded; `versions` are those of the packages in it."""

    versions: dict[str, str]


class Forked(Internal, tag=11, frozen=True):
    """A worker is there. Descriptors: the supervisor's end of its link, its status page."""

    ticket: bytes
    pid: int


class ForkFailed(Internal, tag=12, frozen=True):
    """No worker could be made."""

    ticket: bytes
    reason: str


class Exited(Internal, tag=13, frozen=True):
    """A worker has ended: `cause` as "killed by SIGSEGV", and the end of its standard error.

    Descriptor: its spool, where it has died by itself and left one; the keeper holds that until `Forget`.
    """

    ticket: bytes
    pid: int
    cause: str
    last_words: str
    facts: SessionFacts | None = None


class ProgramReady(Internal, tag=14, frozen=True):
    """Exposing program to supervisor: its functions are registered."""

    names: tuple[str, ...]


class Living(Internal, tag=15, frozen=True):
    """Keeper to a supervisor that comes later: a worker lives. Descriptors: as of `Forked`.

    `facts` is None when the earlier supervisor ended before it gave the session to a client.
    """

    ticket: bytes
    pid: int
    facts: SessionFacts | None = None


class Adopted(Internal, tag=16, frozen=True):
    """Keeper to a supervisor that comes later: all has been told. `pid` is the keeper's, `url` what `Settle` said."""

    pid: int
    url: str


# ---------------------------------------------------------------- supervisor to worker and exposing program


class Adopt(Internal, tag=20, frozen=True):
    """Serve this connection. Descriptor: the proved socket; lost where the receiver has no room for it."""

    role: int
    client: bytes
    resume: int


class Keep(Internal, tag=21, frozen=True):
    """Supervisor to worker: the server ends; keep the variables in `file`. Answers: `Keeping`, then `Kept`.

    `session` is the session's name, empty for a private one; `until` (seconds of the system's clock) is when what was
    kept is deleted. It may take `seconds`, and `limit` bytes.
    """

    file: str
    session: str
    until: float
    seconds: float
    limit: int


class Kept(Internal, tag=22, frozen=True):
    """Worker to supervisor: so many variables were kept, so many could not be; or why none was, a clause.

    `results`: of calls that have ended for nobody, so many could not be kept.
    """

    kept: int
    left: int
    reason: str = ""
    results: int = 0


class Keeping(Internal, tag=23, frozen=True):
    """Worker to supervisor: no call begins any more; what runs may be interrupted."""


class Finish(Internal, tag=24, frozen=True):
    """Supervisor to exposing program: the server ends; take no more calls. Answer: `Finished`."""


class Finished(Internal, tag=25, frozen=True):
    """Exposing program to supervisor: no call runs or waits, and all answers have left."""


class Broken(Internal, tag=26, frozen=True):
    """Worker or exposing program to supervisor: a connection of this role broke the protocol, and was closed."""

    role: int


class Inherit(Internal, tag=27, frozen=True):
    """Supervisor to a new worker: an earlier session of this name has died. Descriptor: its spool."""

    cause: str
    last_words: str


class Absent(Internal, tag=28, frozen=True):
    """Supervisor to worker: this client has not been heard of for long; do not wait for it."""

    client: bytes


# ---------------------------------------------------------------- worker and keeper


class Drained(Internal, tag=30, frozen=True):
    """Keeper to worker: what was written to descriptor `fd`, 1 or 2; `dropped` bytes miss before it."""

    fd: int
    data: bytes
    dropped: int = 0


class SyncOutput(Internal, tag=31, frozen=True):
    """Worker to keeper: send everything that has been written so far, then answer `Synced`."""

    number: int


class Synced(Internal, tag=32, frozen=True):
    """Keeper to worker: all that was written before `SyncOutput` has been sent."""

    number: int


class ForkEngine(Internal, tag=33, frozen=True):
    """Worker to keeper: make `count` processes for the engine, or fewer. Answer: `EngineForked`."""

    count: int


class EngineForked(Internal, tag=34, frozen=True):
    """Keeper to worker. Descriptors: one stream socket for each of `pids`."""

    pids: tuple[int, ...]


AnyInternal = (
    Fork
    | EndWorker
    | EndAll
    | Settle
    | Remember
    | Forget
    | KeeperReady
    | Forked
    | ForkFailed
    | Exited
    | ProgramReady
    | Living
    | Adopted
    | Adopt
    | Keep
    | Kept
    | Keeping
    | Finish
    | Finished
    | Broken
    | Inherit
    | Absent
    | Drained
    | SyncOutput
    | Synced
    | ForkEngine
    | EngineForked
)

encode = msgspec.msgpack.Encoder().encode
decode: Callable[[bytes], AnyInternal] = decoder(AnyInternal)


STATUS_PAGE = Struct("=QdQQQ")
"""A worker's status page, shared memory of one page (native byte order: it never leaves the machine).

Call that runs now (0 for none), when it began (CLOCK_MONOTONIC, seconds), how many interrupts there have been, bytes
that the keeper has drained from its descriptors, tasks of the session's engine that have not ended. The first two and
the last are written by the worker, the third by the supervisor just before it sends SIGINT, the fourth by the keeper;
each is one aligned word.
"""

CURRENT_AT, BEGAN_AT, INTERRUPTS_AT, DRAINED_AT, TASKS_AT = 0, 8, 16, 24, 32
"""Offsets of the five words."""

RING_AT, RING = 1024, 256
"""Offset and length of a ring of words: interrupt number n is meant for the call in word n % RING (0 for any).

One word would not do: the worker may look only after the next interrupt, and signals of a kind do not queue.
"""

PAGE_SIZE = 4096

WORDS_SIZE = 4096
"""Of each of the two areas behind the page that hold the end of what the worker has printed; its keeper reads them."""
