"""Keeping sessions when the server is told to end, and offering what was kept when it is started again.

The worker writes the variables, as the supervisor must load no pickle. A named session is found again by its name, by
whoever attaches to it. A private one is by its ticket, which only its client has; a session that is made for that
client gets the ticket of the former one, so that what stands there for a variable stands for it again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from rpc_magic.errors import ProtocolError, RpcMagicError
from rpc_magic.runtime import keptremains
from rpc_magic.runtime.keptremains import Death
from rpc_magic.runtime.keptsessions import (
    KeptRecord,
    digest_of,
    file_of,
    folder_of,
    read_record,
    remove,
    write_record,
)
from rpc_magic.server.remains import Remains, open_spool
from rpc_magic.server.session import Session
from rpc_magic.settings import ServerSettings
from rpc_magic.wire import control, internal

__all__ = ["Keeping"]

log = logging.getLogger("rpc_magic.server")

_LOOK_SECONDS = 0.02
_GRACE_SECONDS = 1.0
"""For the answer of a worker whose own time is over."""


class Keeping:
    """See the module's text.

    Args:
        identity: by what a later server is known to be the same one; empty when nothing is kept.
        settings: times and sizes.
    """

    def __init__(self, identity: str, settings: ServerSettings) -> None:
        self._settings = settings
        self._identity = identity
        self._folder: Path | None = None
        if identity:
            self._make_folder()

    def _make_folder(self) -> None:
        try:
            self._folder = folder_of(self._identity)
        except (OSError, RpcMagicError) as error:
            log.warning("sessions will not be kept when this server is told to end: %s", error)
            self._folder = None

    # ------------------------------------------------------------ what an earlier server has kept

    def former_ticket(self, request: control.Attach) -> bytes:
        """Return the ticket of the session that a client has had, when that was kept; else empty bytes."""
        if self._folder is None or not request.former:
            return b""
        record = read_record(file_of(self._folder, request.session, request.former))
        return request.former if record is not None and record.owner == digest_of(request.former) else b""

    def find(self, session: Session) -> control.KeptSession | None:
        """Return what was kept of a session and has not been loaded yet."""
        file = self._file(session)
        record = read_record(file) if file is not None else None
        if file is None or record is None:
            return None
        return control.KeptSession(str(file), record.at, record.left, record.reason)

    def forget(self, session: Session) -> None:
        """The client wants a fresh session: what was kept is of no use."""
        file = self._file(session)
        if file is not None:
            with contextlib.suppress(OSError):
                remove(file)

    def _file(self, session: Session) -> Path | None:
        if self._folder is None:
            return None
        return file_of(self._folder, "" if session.is_private else session.name, session.ticket)

    def left(self) -> Iterator[tuple[Death, int, Callable[[], None]]]:
        """Return what sessions had left that had died: how, a descriptor of their spool, and what removes the files."""
        folder = self._folder
        if folder is not None:
            for death, spool in keptremains.read_all(folder):
                yield death, spool, partial(keptremains.remove, folder, death)

    # ------------------------------------------------------------ keeping

    @property
    def is_on(self) -> bool:
        """Whether sessions are kept at all."""
        return self._folder is not None

    async def keep(self, sessions: Sequence[Session], interrupt: Callable[[Session], None]) -> None:
        """Have all sessions keep their variables, and note for each what its client is to be told.

        Args:
            sessions: those that live.
            interrupt: interrupts what runs in one of them.
        """
        self._make_folder()  # it is removed when nothing is in it
        await asyncio.gather(*(self._keep(session, interrupt) for session in sessions))

    async def keep_left(self, left: Sequence[Remains]) -> None:
        """Keep what sessions have left that have died."""
        self._make_folder()
        folder = self._folder
        if folder is None:
            return
        for remains in left:
            if remains.spool < 0:  # its client has left meanwhile
                continue
            name = remains.death.session
            try:
                with open_spool(remains.spool) as spool:  # which may be let go of while it is written
                    if os.fstat(spool.fileno()).st_size > self._settings.kept:
                        log.warning("what session %.80r had left is not kept: it is over the limit", name)
                        continue
                    await asyncio.to_thread(keptremains.write, folder, remains.death, spool.fileno())
            except OSError as error:
                log.warning("what session %.80r had left is not kept: %s", name, error.strerror)

    async def _keep(self, session: Session, interrupt: Callable[[Session], None]) -> None:
        file = self._file(session)
        if file is None:
            return
        until = time.time() + self._settings.session_ttl
        is_noted = asyncio.Event()
        asking = asyncio.ensure_future(self._ask(session, file, until, is_noted))
        if session.running_call[0]:
            with contextlib.suppress(TimeoutError):  # before the interrupt: else what waits would begin
                await asyncio.wait_for(is_noted.wait(), _GRACE_SECONDS)
        kept = await self._answer(session, asking, interrupt)
        if kept.reason:
            session.farewell = f"; its variables could not be kept: {kept.reason}"
            with contextlib.suppress(OSError):
                if not file.exists():
                    name, owner = session.name, digest_of(session.ticket)
                    write_record(file, KeptRecord(name, owner, time.time(), until, reason=kept.reason))
        elif kept.left:
            session.farewell = (
                f"; {kept.kept} of its variables are kept for the next start, {kept.left} could not be"
            )
        elif kept.kept:
            session.farewell = "; its variables are kept for the next start"
        if kept.results:
            session.farewell += f"; results of calls that have ended and could not be kept: {kept.results}"
        if session.farewell:
            log.info("session %s%s", session.name, session.farewell)

    async def _answer(
        self,
        session: Session,
        asking: asyncio.Future[internal.Kept],
        interrupt: Callable[[Session], None],
    ) -> internal.Kept:
        """Wait for the worker's answer; what still runs is interrupted and has a moment to clean up."""
        if session.running_call[0]:
            interrupt(session)
            deadline = time.monotonic() + self._settings.end_seconds
            while session.running_call[0] and not asking.done() and time.monotonic() < deadline:  # noqa: ASYNC110 - only its page tells
                await asyncio.sleep(_LOOK_SECONDS)
            if session.running_call[0] and not asking.done():
                asking.cancel()
                return internal.Kept(
                    0, 0, "a call was still running, and did not end when it was interrupted"
                )
        try:
            return await asyncio.wait_for(asking, self._settings.keep_seconds + _GRACE_SECONDS)
        except TimeoutError:
            return internal.Kept(0, 0, f"it took longer than {self._settings.keep_seconds:g} s")

    async def _ask(
        self, session: Session, file: Path, until: float, is_noted: asyncio.Event
    ) -> internal.Kept:
        gone = internal.Kept(0, 0, "its process has ended")
        if session.worker is None:
            return gone
        loop, link = asyncio.get_running_loop(), session.worker.link
        readable = asyncio.Event()
        name = "" if session.is_private else session.name
        try:
            settings = self._settings
            if not link.try_send(internal.Keep(str(file), name, until, settings.keep_seconds, settings.kept)):
                return internal.Kept(0, 0, "its process takes nothing in")
            loop.add_reader(link.fileno(), readable.set)
            while True:
                await readable.wait()
                readable.clear()
                received = None
                with contextlib.suppress(ProtocolError):  # the session's user code may say anything here
                    received = link.receive()
                match received:
                    case internal.Keeping(), _:
                        is_noted.set()
                    case internal.Kept() as kept, _:
                        return kept
        except (EOFError, OSError):
            return gone
        finally:
            if link.fileno() >= 0:
                loop.remove_reader(link.fileno())
