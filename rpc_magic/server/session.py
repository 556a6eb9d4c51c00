"""One session, as the supervisor holds it.

One session is one worker process. Its state changes only in `rpc_magic.server.sessions`:

====================  ====================================================
state                 means
====================  ====================================================
starting              the keeper has been asked for a worker
alive                 the worker is there
ending                the worker has been told to end
ended                 the worker is gone (the session leaves the table)
====================  ====================================================
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from struct import Struct
from typing import Protocol

from rpc_magic.errors import RpcMagicError
from rpc_magic.server.keeperlink import KeeperLink, WorkerHandle
from rpc_magic.wire import control, internal

__all__ = ["NAME", "Holder", "Session", "SessionError", "refusal"]

NAME = 200
"""Characters of a session's name at most: it is part of packets between the server's processes, which are bounded."""

_WORD = Struct("=Q")
_MOMENT = Struct("=d")


class Holder(Protocol):
    """A client's control connection, as a session knows it."""

    client_id: bytes
    process: bytes
    title: str
    heard: float
    is_silent: bool

    def say(self, message: control.Control) -> None:
        """Send a message."""

    def close(self) -> None:
        """End the connection once what was said has left."""


class SessionError(RpcMagicError):
    """A session cannot be had; `answer` is what the client is told."""

    def __init__(self, answer: control.NotAttached) -> None:
        self.answer = answer
        super().__init__(answer.reason)


def refusal(kind: str, reason: str) -> SessionError:
    """Return the error of a session that a client cannot have; see `rpc_magic.wire.control.NotAttached`."""
    return SessionError(control.NotAttached(kind, reason))


@dataclass(slots=True, eq=False)
class Session:
    """One session; times are CLOCK_MONOTONIC seconds."""

    name: str
    is_private: bool
    ticket: bytes
    began: float
    state: str = "starting"
    worker: WorkerHandle | None = None
    keeper: KeeperLink | None = None
    holder: Holder | None = None
    held_since: float = 0.0
    left_at: float = 0.0
    interrupted: tuple[int, float] = (0, 0.0)  # the call that was interrupted last, and when first
    end_reason: str = ""  # why it was told to end
    farewell: str = ""  # what its client is told of it when the server ends
    client_id: bytes = b""
    title: str = ""
    died: str = ""  # how an earlier session of its name did, whose calls it has taken over
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_busy(self) -> bool:
        """A call runs, or a task of the session's engine has not ended."""
        tasks = 0 if self.worker is None else _WORD.unpack_from(self.worker.page, internal.TASKS_AT)[0]
        return bool(self.running_call[0] or tasks)

    @property
    def facts(self) -> internal.SessionFacts:
        """What a supervisor that comes later has to know of it."""
        return internal.SessionFacts(self.name, self.is_private, self.client_id, self.title, self.began)

    @property
    def running_call(self) -> tuple[int, float]:
        """The call that runs (0 for none) and since when, read from the worker's status page."""
        if self.worker is None:
            return 0, 0.0
        page = self.worker.page
        return _WORD.unpack_from(page, internal.CURRENT_AT)[0], _MOMENT.unpack_from(page, internal.BEGAN_AT)[
            0
        ]
