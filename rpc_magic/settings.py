"""Every limit and default, with its unit and its reason, in one frozen class a layer.

A limit that guards against a hostile or broken peer is applied before memory is taken for what it limits.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "COUNTS",
    "LIMITS",
    "ClientSettings",
    "ModuleLimits",
    "ServerSettings",
    "WireLimits",
    "WorkerSettings",
]

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, slots=True)
class WireLimits:
    """What one frame may hold.

    Attributes:
        message: bytes of a frame's message; messages are small, objects travel as buffers.
        buffers: number of buffers of a frame (a frame of a data frame with many columns needs some thousands).
        payload: bytes of all buffers of a frame together.
        waiting: bytes of the frames that have come after one whose chunks are lacking, and wait for it.
    """

    message: int = 64 * MIB
    buffers: int = 1 << 18
    payload: int = 4 * GIB
    waiting: int = 256 * MIB


CONTROL_LIMITS = WireLimits(message=4 * MIB, buffers=0, payload=0)
"""Control messages carry no objects; the largest holds a client's environment."""


@dataclass(frozen=True, slots=True)
class ModuleLimits:
    """How much of one module of the user's, or of one package, is sent to a session.

    Attributes:
        bytes: of its files together; a package's folder may hold data that was never meant to travel.
        files: number of files that are looked at.
    """

    bytes: int = 64 * MIB
    files: int = 10_000


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The supervisor's and keeper's.

    Attributes:
        handshake_seconds: from accept to the end of the handshake, in total.
        unproved: connections that may be in their handshake at once; one more closes another one, see `crowd`.
        unproved_bytes: bytes that may come under TLS before the proof; its own hello takes one or two thousand.
        sessions: sessions at once.
        connections: control connections at once; each client has one.
        requests: attaching and restarting that one client may have waiting.
        unread: bytes that a client may leave unread on its control connection.
        message: bytes of the objects of one request, or of one answer, of a session.
        calls: requests that wait in a session, or in a program, at once.
        output: bytes of output that wait in a session's spool file for a client that is not there.
        memory: bytes of a session's processes; 0 for no limit.
        vanished_seconds: a private session lives this long after its client vanished.
        session_ttl: a named session without a client lives this long while idle, in seconds.
        missed_seconds: a client not heard from for this long is noticed; it says something every five.
        silent_seconds: a client not heard from for this long may be replaced without being asked.
        orphan_seconds: workers live this long without a supervisor, so that a new one can adopt them.
        stop_seconds: running calls get so long when the server is told to end.
        keep_seconds: sessions then have so long to keep their variables for a server that is started again.
        kept: bytes of one session's variables that are kept then.
        drained: bytes of a worker's file descriptors 1 and 2 that the keeper holds for it at most.
        last_words: bytes of its standard error that are kept to explain its death.
        end_seconds: between asking a worker to end and killing it.
    """

    handshake_seconds: float = 10.0
    unproved: int = 256
    unproved_bytes: int = 32 * KIB
    sessions: int = 64
    connections: int = 256
    requests: int = 16
    unread: int = 4 * MIB
    message: int = 4 * GIB
    calls: int = 100_000
    output: int = 1 * GIB
    memory: int = 0
    vanished_seconds: float = 600.0
    session_ttl: float = 24 * 3600.0
    missed_seconds: float = 30.0
    silent_seconds: float = 40.0
    orphan_seconds: float = 600.0
    stop_seconds: float = 5.0
    keep_seconds: float = 10.0
    kept: int = 1 * GIB
    drained: int = 8 * MIB
    last_words: int = 8 * KIB
    end_seconds: float = 2.0


LIMITS = ("message", "calls", "output", "connections", "kept")
"""Those of `ServerSettings` that ``rpc-magic serve --limit NAME=VALUE`` sets."""

COUNTS = frozenset({"calls", "connections"})
"""Those of them that are whole numbers; the others are sizes."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """A session's.

    Attributes:
        message, calls: as in `ServerSettings`.
        takeover_seconds: a call that has run for this long hands the reading of its connection to a helper thread.
        park_seconds: without calls for this long the helper thread stops ticking.
        eager: pickled bytes up to which plain values come back by themselves.
        functions: functions remembered by digest; the oldest is forgotten first and sent again when needed.
        blocks: bytes of received arrays and tables that are held, so that they need not be sent again; the oldest go
            first. Those that the session's variables use anyway cost nothing more.
        held: bytes of sent memory without another owner that are held for the same reason.
        unacknowledged: bytes of one outcome that are copied in memory while the client has not acknowledged it; a
            larger one goes to the spool.
        spool: bytes of output that wait in a session's spool file for a client that is not there.
        last_output: bytes of the last output that are held when the spool is full; what lies between is dropped.
        answer_seconds: how long an import waits for a client that is not there.
        return_seconds: how long a client of calls by name, or of the engine, may be away until its results are dropped.
    """

    message: int = 4 * GIB
    calls: int = 100_000
    takeover_seconds: float = 0.005
    park_seconds: float = 1.0
    eager: int = 1 * MIB
    functions: int = 1024
    blocks: int = 2 * GIB
    held: int = 256 * MIB
    unacknowledged: int = 64 * MIB
    spool: int = 1 * GIB
    last_output: int = 4 * MIB
    answer_seconds: float = 40.0
    return_seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """The client's.

    Attributes:
        connect_seconds: default time to connect.
        ping_seconds: between two pings of the control connection while someone watches the status.
        beat_seconds: between two pings otherwise: a client that is not heard from loses its session to others.
        silent_seconds: a server that is silent for so long is taken for gone.
        awake_seconds: the same just after the machine has slept.
        first_pause, longest_pause: seconds between attempts to reconnect, which double; half of it is left to chance.
        steady_seconds: a connection that has lived for so long is made again at once when it is cut, without a pause.
        reconnect_seconds: for how long it is tried.
        lost_seconds: how long to wait for the server's word on why a data connection ended.
        prompt_seconds: how long a user who types waits for completions and help of a value that is elsewhere.
        upload_warning: bytes of variables sent for one cell above which the size is said first.
        output_lines: lines that a notebook's cell prints before the rest is thinned out; a page grows slow with more.
        output_size: the same in characters.
        held: bytes of received memory that are held, so that what lies in it need not be sent again, though the program
            has no more use for them.
    """

    connect_seconds: float = 10.0
    ping_seconds: float = 2.0
    beat_seconds: float = 5.0
    silent_seconds: float = 20.0
    awake_seconds: float = 2.0
    first_pause: float = 0.1
    longest_pause: float = 4.0
    steady_seconds: float = 1.0
    reconnect_seconds: float = 24 * 3600.0
    lost_seconds: float = 1.0
    prompt_seconds: float = 0.8  # JupyterLab waits for one second
    upload_warning: int = 100 * 1000 * 1000
    output_lines: int = 10_000
    output_size: int = 10 * 1000 * 1000
    held: int = 256 * MIB
