"""What calls give back that is not the user's own: facts about the server, and the result of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["Result", "ServerInfo"]


@dataclass(frozen=True)
class Result:
    """What `Connection.run` gives back.

    Attributes:
        value: the value of the last expression, or None.
        outputs: the variables that `outputs` named.
        stdout, stderr: what was printed; where all that was shown is more than 256 MiB, the middle is left out.
        display: MIME bundles that were shown, in order.
        execution_count: the session's own count.
        duration: seconds it ran there.
    """

    value: Any = None
    outputs: dict[str, Any] = field(default_factory=dict)
    stdout: str = ""
    stderr: str = ""
    display: list[dict[str, Any]] = field(default_factory=list)
    execution_count: int = 0
    duration: float = 0.0


@dataclass(frozen=True)
class ServerInfo:
    """What is known of a server and of the session on it.

    Attributes:
        url: where it was connected to.
        name: the server's own.
        session: the session's name, empty for none.
        state: "idle", "busy", "ended", "none" (no session), "lost" or "closed".
        supervisor_pid, worker_pid: process ids there; 0 for none.
        host, user: of the server.
        python: its version.
        versions: of Python and packages there.
        bytes_sent, bytes_received: by this connection.
    """

    url: str
    name: str
    session: str
    state: str
    supervisor_pid: int
    worker_pid: int
    host: str
    user: str
    python: str
    versions: dict[str, str]
    bytes_sent: int
    bytes_received: int
