"""One client's control connection, after its handshake."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from rpc_magic.errors import ProtocolError
from rpc_magic.server.session import Session, SessionError
from rpc_magic.server.sessions import SessionTable
from rpc_magic.server.strangers import on_one_line
from rpc_magic.settings import CONTROL_LIMITS, ServerSettings
from rpc_magic.wire import control
from rpc_magic.wire.frames import FrameReader, encode_frame
from rpc_magic.wire.handshake import Role

if TYPE_CHECKING:
    from rpc_magic.server.supervisor import Supervisor

__all__ = ["ClientConnection"]

log = logging.getLogger(__name__)


class ClientConnection(asyncio.BufferedProtocol):
    """The supervisor's end of a control connection.

    Args:
        supervisor: whose it is.
        client_id: as proved in the handshake.
        settings: limits.
    """

    def __init__(self, supervisor: Supervisor, client_id: bytes, settings: ServerSettings) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._reader = FrameReader(CONTROL_LIMITS)
        self._seq = 0
        self._transport: asyncio.Transport | None = None
        self._session: Session | None = None
        self._requests: asyncio.Queue[control.Attach | control.Restart] = asyncio.Queue()
        self._worker: asyncio.Task[None] | None = None
        self.client_id = client_id
        self.process = b""
        self.title = "another client"
        self.heard = time.monotonic()
        self.is_silent = False

    @property
    def _sessions(self) -> SessionTable | None:
        return self._supervisor.sessions

    # ------------------------------------------------------------ asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._worker = asyncio.get_running_loop().create_task(self._work())
        self._supervisor.clients.add(self)
        self.say(self._supervisor.welcome())

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        """Return where to receive."""
        return self._reader.buffer_to_fill()

    def buffer_updated(self, nbytes: int) -> None:
        """Handle what came."""
        self.heard = time.monotonic()
        try:
            for frame in self._reader.filled(nbytes):
                self._hear(control.decode_to_supervisor(frame.message))
        except (ProtocolError, msgspec.MsgspecError):
            self._supervisor.broken.note(Role.CONTROL)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The client is gone without a word, or after `Detach`."""
        self._supervisor.clients.discard(self)
        if self._session is not None and self._session.holder is self:
            log.info("%s is gone without a word", self.title)
        if self._worker is not None:
            self._worker.cancel()
        self._leave(end=False)

    # ------------------------------------------------------------ ours

    def look(self) -> None:
        """Say, once, when the client has fallen silent, to its session too; called from time to time."""
        seconds = self._settings.missed_seconds
        was_silent, self.is_silent = self.is_silent, time.monotonic() - self.heard > seconds
        if self.is_silent and not was_silent and self._session is not None:
            log.info("%s has not been heard of for %g s", self.title, seconds)
            if self._session.worker is not None:
                self._session.worker.miss(self.client_id)

    def say(self, message: control.Control) -> None:
        """Send a message."""
        if self._transport is None or self._transport.is_closing():
            return
        self._seq += 1
        self._transport.write(
            b"".join(encode_frame(0, self._seq, self._reader.last_seq, control.encode(message)))
        )
        if self._transport.get_write_buffer_size() > self._settings.unread:
            log.warning("%s does not read what it is told, and was let go", self.title)
            self._transport.abort()

    def say_goodbye(self, reason: str) -> None:
        """The server ends: say why, and what becomes of the session."""
        self.say(control.Goodbye(reason + (self._session.farewell if self._session is not None else "")))

    def close(self) -> None:
        """End the connection once what was said has left."""
        if self._transport is not None:
            self._transport.close()

    def _leave(self, *, end: bool) -> None:
        if self._session is not None and self._sessions is not None:
            self._sessions.leave(self, self._session, end=end)
            self._session = None

    def _hear(self, message: control.ToSupervisor) -> None:
        match message:
            case control.Attach() | control.Restart():
                if self._requests.qsize() >= self._settings.requests:
                    raise ProtocolError("more requests wait than one client may have")
                self.process = message.client.process
                self._requests.put_nowait(message)
            case control.Ping(number, machine):
                pong = control.Pong(number, "none")
                pong = self._sessions.pong(self._session, number) if self._sessions else pong
                if machine:
                    pong = msgspec.structs.replace(pong, machine=self._supervisor.machine(self._session))
                self.say(pong)
            case control.Interrupt(call):
                if self._session is not None and self._sessions is not None:
                    self._sessions.interrupt(self._session, call)
            case control.Detach(end):
                self._leave(end=end)
                if self._sessions is not None:
                    self._sessions.remains.leave(self.client_id)
                self.close()
            case control.EndSession(reason):
                if self._session is not None and self._sessions is not None:
                    self._sessions.end_now(self._session, reason)
            case control.ListSessions():
                self.say(control.Sessions(self._sessions.listing() if self._sessions else ()))

    async def _work(self) -> None:
        """Do what takes time, one request after the other."""
        while True:
            request = await self._requests.get()
            answer: Coroutine[Any, Any, control.Control] = (
                self._attach(request) if isinstance(request, control.Attach) else self._restart(request)
            )
            try:
                said = await answer
            except SessionError as error:
                said = error.answer
            self.say(said)
            told = ", ".join(f"{name} {version}" for name, version in request.client.versions.items())
            log.info("%s (%s) %s", self.title, on_one_line(told, 200), _deed(request, said))

    async def _attach(self, request: control.Attach) -> control.Control:
        client = request.client
        self.title = on_one_line(f"{client.user}@{client.host}", 100) + f", process {client.pid}"
        if self._sessions is None:
            return control.NotAttached(
                "no_sessions", "this server runs its exposed functions and nothing else"
            )
        self._leave(end=True)  # a connection holds one session at a time
        if not request.ticket:
            self._sessions.remains.leave(self.client_id)
        self._session, is_new = await self._sessions.attach(request, self, self._supervisor.cwd)
        return self._attached(is_new=is_new)

    async def _restart(self, request: control.Restart) -> control.Control:
        if self._session is None or self._sessions is None:
            return control.NotAttached("failed", "there is no session to restart")
        old, self._session = self._session, None
        self._session = await self._sessions.restart(old, request.client, self, self._supervisor.cwd)
        return self._attached(is_new=True)

    def _attached(self, *, is_new: bool) -> control.Control:
        session = self._session
        assert session is not None
        pid = session.worker.pid if session.worker else 0
        kept = self._sessions.kept_of(session) if self._sessions is not None else None
        died = session.died if is_new else ""
        return control.Attached(session.name, session.ticket, pid, is_new, kept, died)


def _deed(request: control.Attach | control.Restart, said: control.Control) -> str:
    if isinstance(said, control.NotAttached):
        return f"was refused: {on_one_line(said.reason, 200)}"
    if isinstance(request, control.Restart):
        return "restarted its session"
    return "came back" if request.ticket else "attached"


def connect_client(
    supervisor: Supervisor, client_id: bytes, sock: socket.socket, settings: ServerSettings
) -> Coroutine[Any, Any, Any]:
    """Serve a proved control connection."""
    loop = asyncio.get_running_loop()
    return loop.connect_accepted_socket(lambda: ClientConnection(supervisor, client_id, settings), sock)
