"""What is said on a control connection, between a client and the supervisor (protocol page, section 6).

The state that a client shows comes from here, so it stays true while a session's process is deep in C code.
No objects travel on a control connection.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from rpc_magic.wire.decoding import decoder


class Control(msgspec.Struct, frozen=True, array_like=True, tag_field="t"):
    """Base of everything that is said on a control connection."""


class ClientInfo(msgspec.Struct, frozen=True, array_like=True):
    """Who attaches, and what a session on the client's own machine starts with.

    Attributes:
        pid, host, user: of the client process.
        python: major, minor, and the number of the bytecode format.
        cwd, path, environ: folder, `sys.path` and environment; empty unless it shares the server's machine (and, for
            the path, its version of Python).
        versions: of Python and of the packages that the protocol rests on.
        process: random bytes that name the process: its connections may take sessions from each other.
    """

    pid: int
    host: str
    user: str
    python: tuple[int, int, int]
    cwd: str = ""
    path: tuple[str, ...] = ()
    environ: dict[str, str] = {}
    versions: dict[str, str] = {}
    process: bytes = b""


# ---------------------------------------------------------------- client to supervisor


class Attach(Control, tag=1, frozen=True):
    """Open a session, or attach to a living one.

    `session` names it; empty asks for a private one. `take` takes it over from another client. `ticket` is of a
    session that this client holds, to which it comes back after its connection broke; it asks for no other one.
    `former` is of a session that this client's process had when the server was told to end: a new one takes its place
    where it was kept.
    """

    session: str
    take: bool
    client: ClientInfo
    ticket: bytes = b""
    former: bytes = b""


class Ping(Control, tag=2, frozen=True):
    """Are you there, and what runs? Answer: `Pong`; with `machine`, it tells of the machine too."""

    number: int
    machine: bool = False


class Interrupt(Control, tag=3, frozen=True):
    """Interrupt the call while it is the one that runs; 0 means whatever runs. No answer."""

    call: int


class Restart(Control, tag=4, frozen=True):
    """End the session's process and give it a new one. Answer: `Attached`."""

    client: ClientInfo


class Detach(Control, tag=5, frozen=True):
    """The client leaves; `end` ends the session too. No answer."""

    end: bool


class ListSessions(Control, tag=6, frozen=True):
    """Which sessions are there? Answer: `Sessions`."""


class EndSession(Control, tag=7, frozen=True):
    """End the session's process, which may be deaf to all else; `reason`, a clause, is told. `SessionEnded` follows."""

    reason: str


# ---------------------------------------------------------------- supervisor to client


class Welcome(Control, tag=20, frozen=True):
    """The first message on a control connection.

    Attributes:
        name, url: the server's.
        pid: the supervisor's.
        host, user: of the server.
        machine: tells whether client and server share a machine (and boot).
        python: as in `ClientInfo`.
        versions: of Python and of the packages that matter.
        has_sessions: it runs cells and functions.
        has_functions: a program behind it exposes functions.
        plain_arguments: those take plain data only.
        payload: bytes of buffers that a frame may hold.
    """

    name: str
    url: str
    pid: int
    host: str
    user: str
    machine: str
    python: tuple[int, int, int]
    versions: dict[str, str]
    has_sessions: bool
    has_functions: bool
    plain_arguments: bool
    payload: int


class KeptSession(msgspec.Struct, frozen=True, array_like=True):
    """What an earlier server of this name or address has kept of the session, when it was told to end.

    Attributes:
        file: of its variables, on the server's machine.
        at: when, in seconds of the system's clock.
        left: variables that could not be kept, each with the reason.
        reason: why nothing could be kept, a clause; empty when something was.
    """

    file: str
    at: float
    left: dict[str, str]
    reason: str


class Attached(Control, tag=21, frozen=True):
    """The session is there. `ticket` opens data connections to it; `is_new`: it was made for this client.

    `kept` is what the client may have the session load before anything else.
    `died`: how an earlier session of its name died, whose calls it has taken over; empty when there is none.
    """

    session: str
    ticket: bytes
    worker_pid: int
    is_new: bool
    kept: KeptSession | None = None
    died: str = ""


class NotAttached(Control, tag=22, frozen=True):
    """No session: `kind` is "in_use", "busy", "failed", "no_sessions", "ended" or "taken".

    `holder` and `since` (seconds) are said for "in_use"; `reason` is a clause, for "ended" as `SessionEnded.cause`,
    with its `last_words`; for "taken" `holder` is who took it.
    """

    kind: str
    reason: str
    holder: str = ""
    since: float = 0.0
    last_words: str = ""


class Machine(msgspec.Struct, frozen=True, array_like=True):
    """How the server's machine is.

    Attributes:
        processors: their number.
        load: percent of the processors' time that was used since it was last told.
        memory, memory_used: bytes.
        uptime: seconds that the server has run.
        session_age: seconds that the session has lived; 0 for none.
    """

    processors: int
    load: float
    memory: int
    memory_used: int
    uptime: float
    session_age: float


class Pong(Control, tag=23, frozen=True):
    """The answer to a ping, and what the supervisor knows of the session without asking it.

    Attributes:
        number: the ping's.
        state: "none", "idle", "busy" or "ended".
        call: the call that runs, 0 for none.
        busy_seconds: for how long it has run.
        memory: resident bytes of the session's process.
        cpu_seconds: processor time that it has used.
        stopping_seconds: how long ago the running call was first interrupted; 0 when it was not.
        machine: how the machine is, where that was asked for.
    """

    number: int
    state: str
    call: int = 0
    busy_seconds: float = 0.0
    memory: int = 0
    cpu_seconds: float = 0.0
    stopping_seconds: float = 0.0
    machine: Machine | None = None


class SessionEnded(Control, tag=24, frozen=True):
    """The session's process has ended: how, and the end of its standard error.

    `has_rest`: what its client has not received can still be had (protocol page, section 7).
    """

    session: str
    ticket: bytes
    cause: str
    last_words: str
    has_rest: bool = False


class Taken(Control, tag=25, frozen=True):
    """Another client has taken the session over."""

    holder: str


class SessionInfo(msgspec.Struct, frozen=True, array_like=True):
    """One session of the server. `client` is empty when none is attached; times in seconds.

    In the state "died" it is one that a new session of its name will take the calls over from; `age` is the time since
    then, and `cause` says how.
    """

    name: str
    is_private: bool
    pid: int
    state: str
    age: float
    client: str
    cause: str = ""


class Sessions(Control, tag=26, frozen=True):
    """The server's sessions."""

    sessions: tuple[SessionInfo, ...]


class Goodbye(Control, tag=27, frozen=True):
    """The server ends; `reason` is a clause."""

    reason: str


ToSupervisor = Attach | Ping | Interrupt | Restart | Detach | ListSessions | EndSession
ToClient = Welcome | Attached | NotAttached | Pong | SessionEnded | Taken | Sessions | Goodbye

encode = msgspec.msgpack.Encoder().encode
decode_to_supervisor: Callable[[bytes], ToSupervisor] = decoder(ToSupervisor)
decode_to_client: Callable[[bytes], ToClient] = decoder(ToClient)
