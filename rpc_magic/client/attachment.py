"""A client's hold on a server: its control connection, its session, and the data connections to both.

State, which changes only here::

    attached ──SessionEnded──► died ──restart()──► attached
      │   ▲                      ▲
      │   └──back──┐             │
      ├──cut──► reconnecting ────┤
      │            │             │
      ├──Taken, Goodbye──► lost ◄┘ never
      └──close()──► closed

A call begun while it is *attached* or *reconnecting* is sent, now or when the connection is back; in any other state it
raises the error that says why.
"""

from __future__ import annotations

import contextlib
import copy
import os
import queue
import secrets
import socket
import threading
import time
from collections.abc import Callable

from rpc_magic import serial
from rpc_magic.client.controlling import ControlLink
from rpc_magic.client.dialing import dial
from rpc_magic.client.heartbeat import Heartbeat
from rpc_magic.client.interrupts import Deferred
from rpc_magic.client.introducing import client_info, process_id
from rpc_magic.client.link import Link
from rpc_magic.client.locating import Place, has_ended
from rpc_magic.client.modules import LocalModules
from rpc_magic.client.reconnecting import Reconnecting, Retry
from rpc_magic.errors import (
    AuthenticationError,
    ConnectError,
    ConnectionLostError,
    RpcMagicError,
    SessionDiedError,
    SessionInUseError,
)
from rpc_magic.runtime.processes import Identity, identity_of, machine_id, parent_of, python_tag
from rpc_magic.runtime.versions import Libraries, version_note
from rpc_magic.settings import ClientSettings
from rpc_magic.transport.iothread import IoThread
from rpc_magic.transport.pace import FAR_SECONDS
from rpc_magic.wire import control, messages
from rpc_magic.wire.handshake import Role
from rpc_magic.wire.store import ChunkStore

__all__ = ["Attachment", "Stray"]

_LIVE = frozenset({"attached", "reconnecting"})

Stray = Callable[[int, messages.Message, list[memoryview]], None]

_LOOK_SECONDS = 0.05
"""Between two looks whether an answer is still waited for."""


class Attachment:
    """See the module's text. Thread-safe.

    Args:
        place: the server and its token.
        session: the session's name, empty for a private one.
        take: take the session over from another client.
        is_plain_only: have nothing but plain data sent as values.
        timeout: seconds to connect.

    Attributes:
        welcome: the server's greeting.
        ticket: the session's, empty bytes before there is one.
        session: its name.
        code: how functions travel: as source between different versions of Python.
        pong: what the supervisor last said of the session.
        retry: which attempt to reconnect runs or is next; None while it is not reconnecting.
        on_comm: takes messages of the session's widgets, on the thread that waits for their call; else on that which
            reads.
        on_stray: takes output that belongs to no call that runs, on the I/O thread.
        on_change: called on any thread when `state`, `retry` or `pong` has changed.
        modules: serves the user's own modules to the session.
        libraries: what was told of the versions of libraries.
        chunks: finds what the session has already.
    """

    def __init__(
        self, place: Place, session: str, *, take: bool, is_plain_only: bool, timeout: float
    ) -> None:
        self._place, self._wanted, self._take, self._is_plain_only = place, session, take, is_plain_only
        self.on_stray: Stray = lambda *_: None
        self._settings = ClientSettings()
        self._lock = threading.RLock()
        self._turning = threading.Lock()
        self._links: dict[Role, Link] = {}
        self._error: Exception | None = None
        self.url = place.address.url
        self.timeout = timeout
        self.ticket = b""
        self.session = ""
        self.worker_pid = 0
        self.is_new = False
        self._processes: tuple[Identity, ...] = ()  # that the session needs, where they can be seen
        self.state = "attached"
        self.code: serial.CodeMode = "bytecode"
        self.pong: control.Pong | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.on_comm: Callable[[messages.CommMessage, list[memoryview]], None] = lambda *_: None
        self.modules = LocalModules()
        self.libraries = Libraries()
        self.chunks = ChunkStore(self._settings.held)
        self._process = process_id()
        self._client_id = secrets.token_bytes(16)  # another connection of this process is another client
        self._stopped: set[int] = set()  # calls that were interrupted, and may not have heard of it
        self.retry: Retry | None = None
        self._cut_at = 0.0
        self._is_resumed: Callable[[bool], None] = lambda _: None
        began = time.monotonic()
        deadline = began + timeout
        sock = dial(place.address, place.token, Role.CONTROL, self._client_id, deadline)
        self._nearest = time.monotonic() - began  # the shortest time that connecting has taken, in seconds
        self.io = IoThread()
        self._reconnecting = Reconnecting(self._settings, self._is_cut, self._come_back, self._note_retry)
        self._heartbeat = Heartbeat(self._settings, self._ping, self._fall_silent)
        self.control = self._control_link(sock)
        try:
            self.welcome = self.control.welcome(max(0.1, deadline - time.monotonic()))
            self.code = "bytecode" if self.welcome.python == python_tag() else "source"
            self.io.every(min(1.0, self._settings.beat_seconds), self._beat)
            if self.welcome.has_sessions and (session or place.is_embedded or not self.welcome.has_functions):
                self.link(Role.DATA)
        except BaseException:
            self.close()
            raise

    @property
    def place(self) -> Place:
        """The server and its token."""
        return self._place

    @property
    def is_private(self) -> bool:
        """True for a session that ends with this client."""
        return not self._wanted

    @property
    def is_embedded(self) -> bool:
        """True for a server that this process has started for itself."""
        return self._place.is_embedded

    # ------------------------------------------------------------ links

    def link(self, role: Role) -> Link:
        """Return the connection for `role`; the first use makes it, and a session where one is needed.

        Raises:
            RpcMagicError: there is none to be had; the error says why.
        """
        link = self._links.get(role)
        if (
            link is not None
            and not link.is_gone
            and self._process is process_id()  # a forked child must not write between its parent's frames
            and (self.state in _LIVE or role is Role.FUNCTIONS)
        ):
            return link
        with self._lock:
            return self._make_link(role)

    def _make_link(self, role: Role) -> Link:
        link = self._links.get(role)
        if self._error is not None and not (role is Role.FUNCTIONS and self.state == "died"):
            raise copy.copy(self._error)  # the one that is kept must not gather tracebacks
        if self._process != process_id():
            raise RpcMagicError("a connection cannot be used in a forked child process: connect() there")
        if link is not None and not link.is_gone:
            return link
        if role is not Role.FUNCTIONS and not self.ticket:
            self._attach(control.Attach(self._wanted, self._take, client_info(self.welcome)))
        ticket = bytes(16) if role is Role.FUNCTIONS else self.ticket
        began = time.monotonic()
        deadline = began + self.timeout
        sock = dial(self._place.address, self._place.current_token(), role, self._client_id, deadline, ticket)
        self._nearest = min(self._nearest, time.monotonic() - began)
        link = self._links[role] = Link(
            sock,
            self.io,
            self.welcome.payload,
            lambda detail, can_resume: self._link_lost(role, detail, can_resume=can_resume),
            self._take_stray,
            self.chunks if role is Role.DATA else None,
        )
        if role is Role.DATA:
            link.on_question = lambda question: self.modules.answer(question, link.send)
            link.on_libraries = self.compare
            link.on_resumed = lambda is_known: self._resumed(link, is_known=is_known)
            link.is_far = self._nearest >= FAR_SECONDS
            configure = messages.Configure(self._is_plain_only, self.code == "source", link.is_far)
            if configure != messages.Configure():
                link.send(0, configure)
        if role is not Role.FUNCTIONS:
            link.before_request = self._prepare
        return link

    def _prepare(self) -> None:
        """Before a request: tell the session, and its engine, what they have to know to understand it."""
        changed = self.modules.changed()
        versions = self.libraries.take()
        for role, link in list(self._links.items()) if changed or versions else ():
            if link.is_gone or role is Role.FUNCTIONS:
                continue
            if changed:
                link.send(0, messages.ModulesChanged(changed))
            if versions and role is Role.DATA:
                link.send(0, messages.Libraries(versions))

    def compare(self, theirs: dict[str, str]) -> str:
        """Return what there is to say of the session's versions of libraries; any thread."""
        compared = self.libraries.compare(theirs)
        return "".join(version_note(library, mine, other) for library, mine, other in compared)

    def _attach(self, request: control.Control) -> None:
        if not self.welcome.has_sessions:
            raise RpcMagicError(
                f"the server {self.welcome.name} runs its exposed functions and nothing else: "
                "call them by name, as conn.call('add', 2, 3); dir(conn.functions) lists them"
            )
        with Deferred():  # an answer that nobody took would be taken for the next one's
            answer = self._check(self.control.ask(request, control.Attached, self.timeout))
            self.ticket, self.session, self.worker_pid = answer.ticket, answer.session, answer.worker_pid
            self.is_new = answer.is_new
            self._processes = _processes_of(answer.worker_pid) if self.welcome.machine == machine_id() else ()

    def _check(self, answer: control.Attached | control.NotAttached) -> control.Attached:
        """Return an answer that gives the session; raise what another one says."""
        if isinstance(answer, control.Attached):
            return answer
        match answer.kind:
            case "in_use":
                raise SessionInUseError(self.url, self._wanted, answer.holder, answer.since)
            case "ended":
                raise SessionDiedError(self.session or "private", answer.reason, answer.last_words)
            case "taken":
                raise ConnectionLostError(self.url, f"{answer.holder} took the session over")
        raise ConnectError(self.url, answer.reason)

    # ------------------------------------------------------------ coming back after a cut

    def _control_link(self, sock: socket.socket) -> ControlLink:
        return ControlLink(sock, self.url, self.io, self._hear, self._control_lost, self._heartbeat.heard)

    def _ping(self) -> None:
        self.control.ping()

    def _beat(self) -> None:
        """I/O thread, every second."""
        self._heartbeat.beat()
        link = self._links.get(Role.DATA)
        if link is not None:
            link.acknowledge()

    def _fall_silent(self) -> None:
        """I/O thread: nothing has come from the server for too long."""
        for link in list(self._links.values()):
            link.cut()
        self.control.cut()

    def _is_cut(self) -> bool:
        """Tell whether something has still to be connected again."""
        link = self._links.get(Role.DATA)
        is_down = link is not None and not link.is_up and not link.is_gone
        return self.state in _LIVE and (self.control.is_gone or is_down)

    def _note_retry(self, retry: Retry | None) -> None:
        if retry is not None and self.retry is None:
            self._cut_at = time.monotonic()
        self.retry = retry
        self._turn("attached" if retry is None else "reconnecting", _LIVE)
        self.on_change()

    def _turn(self, state: str, allowed: frozenset[str], error: Exception | None = None) -> bool:
        """Change the state, when it is one of `allowed`; the first error of an end stays. Any thread."""
        with self._turning:
            if self.state not in allowed:
                return False
            self.state = state
            if error is not None:
                self._error = self._error or error
            return True

    def _come_back(self) -> None:
        """Reconnecting thread: one attempt to connect what was cut."""
        try:
            if self.control.is_gone:
                self._attach_again()
            link = self._links.get(Role.DATA)
            if link is not None and not link.is_up and not link.is_gone:
                self._resume(link)
        except SessionDiedError as error:
            died = error
            self.io.do(lambda: self._die(died))
        except (AuthenticationError, ConnectionLostError, ConnectError) as error:
            self._consider(error)

    def _attach_again(self) -> None:
        deadline = time.monotonic() + self._settings.connect_seconds
        place = self._place
        sock = dial(place.address, place.current_token(), Role.CONTROL, self._client_id, deadline)
        link = self._control_link(sock)
        try:
            welcome = link.welcome(self._settings.connect_seconds)
            if self.ticket:
                request = control.Attach(
                    self._wanted, take=False, client=client_info(welcome), ticket=self.ticket
                )
                self._check(link.ask(request, control.Attached, self._settings.connect_seconds))
        except SessionDiedError:
            self.control, self.welcome = link, welcome  # the server is there, and can give a new session
            raise
        except BaseException:
            link.close()
            raise
        self.control, self.welcome = link, welcome
        for call in self._still_stopped():
            link.say(control.Interrupt(call))
        self._stopped.discard(0)

    def _resume(self, link: Link) -> None:
        deadline = time.monotonic() + self._settings.connect_seconds
        place, is_done = self._place, queue.SimpleQueue[bool]()
        self._is_resumed = is_done.put
        token = place.current_token()
        sock = dial(place.address, token, Role.DATA, self._client_id, deadline, self.ticket, link.due)
        self.io.do(lambda: link.resume(sock))
        # No answer: it is tried again. Nobody waits for one when the session has ended meanwhile, or is left.
        while self.state in _LIVE and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                is_done.get(timeout=_LOOK_SECONDS)
                return

    def _resumed(self, link: Link, *, is_known: bool) -> None:
        """Whoever reads: the session goes on with the link, or knows nothing of it."""
        if not is_known:
            link.close(
                ConnectionLostError(self.url, "the session could not go on where the connection broke")
            )
        self._is_resumed(is_known)

    def _consider(self, error: RpcMagicError) -> None:
        """Reconnecting thread: an attempt has failed; give up where no other one can succeed."""
        is_over = time.monotonic() - self._cut_at > self._settings.reconnect_seconds
        if isinstance(error, AuthenticationError) or is_over:
            self._lose(ConnectionLostError(self.url, str(error)))
        elif isinstance(error, ConnectionLostError) and "took the session over" in error.detail:
            self._lose(error)
        elif self._place.is_embedded and has_ended(0.0):
            self._lose(ConnectionLostError(self.url, "the embedded server has ended"))
        elif self._processes and not any(one.is_alive for one in self._processes):
            self._lose(ConnectionLostError(self.url, "the server was killed, and the session with it"))

    def interrupt(self, call: int) -> None:
        """Interrupt a call while it is the one that runs; 0 means whatever runs. Any thread.

        What is said just before a cut may not arrive: it is said again on the next connection, while the call runs.
        """
        if call or self.control.is_gone:
            self._stopped = self._still_stopped() | {call}
        self.control.say(control.Interrupt(call))

    def _still_stopped(self) -> set[int]:
        links = list(self._links.values())
        return {call for call in self._stopped if not call or any(link.has(call) for link in links)}

    # ------------------------------------------------------------ what is told (I/O thread)

    def _take_stray(self, call: int, message: messages.Message, buffers: list[memoryview]) -> None:
        if isinstance(message, messages.CommMessage):
            self.on_comm(message, buffers)
        else:
            self.on_stray(call, message, buffers)

    def _hear(self, message: control.ToClient) -> None:
        match message:
            case control.SessionEnded(session, ticket, cause, last_words) if ticket == self.ticket:
                self._die(SessionDiedError(session, cause, last_words))
            case control.Taken(holder):
                self._lose(ConnectionLostError(self.url, f"{holder} took the session over"))
            case control.Goodbye(reason):
                for link in list(self._links.values()):
                    link.read_rest()  # what was finished before
                self._lose(ConnectionLostError(self.url, reason))
            case control.Pong():
                self.pong = message
                self.on_change()

    def _die(self, error: SessionDiedError) -> None:
        if not self._turn("died", _LIVE, error):
            return  # the server has said that it ends, and its sessions with it
        for role, link in list(self._links.items()):
            if role is not Role.FUNCTIONS:  # those run in a program, which lives on
                link.read_rest()
                link.close(error)
                link.fail_all(error)
        self.on_change()

    def _lose(self, error: ConnectionLostError) -> None:
        if not self._turn("lost", _LIVE | {"died"}, error):
            return
        self._fail_links(error)
        self.on_change()

    def _fail_links(self, error: Exception) -> None:
        for link in list(self._links.values()):
            link.close(error)  # first: it does nothing once the link is gone
            link.fail_all(error)

    def _control_lost(self) -> None:
        if self.state in _LIVE:
            self._reconnecting.start()

    def _link_lost(self, role: Role, detail: str, *, can_resume: bool) -> Exception | None:
        """A connection has ended: it is made again, or the supervisor says why within a moment."""
        if self._error is not None:
            return self._error
        if can_resume:
            self._reconnecting.start()
            return None
        error = ConnectionLostError(self.url, detail)
        if self.control.is_gone:
            return error
        link = self._links.get(role)

        def give_up() -> None:
            if link is not None:
                self.io.do(lambda: link.fail_all(self._error or error))

        timer = threading.Timer(self._settings.lost_seconds, give_up)
        timer.daemon = True
        timer.start()
        return None

    def drop(self, ticket: str, key: str) -> None:
        """I/O thread: let the session forget a kept value. Waits for nothing, makes no connection."""
        link = self._links.get(Role.DATA)
        if link is not None and ticket == self.ticket.hex():
            with contextlib.suppress(RpcMagicError):
                link.send(0, messages.Drop((key,)))

    def traffic(self) -> tuple[int, int]:
        """Return the bytes sent and received by all links."""
        links = list(self._links.values())
        return sum(link.bytes_sent for link in links), sum(link.bytes_received for link in links)

    def bytes_saved(self) -> int:
        """Return the bytes that were not sent because the session had them."""
        return sum(link.bytes_saved for link in list(self._links.values()))

    # ------------------------------------------------------------ ends

    def restart(self) -> None:
        """Give the session a fresh process.

        Raises:
            RpcMagicError: the server is gone, or gives none.
        """
        with self._lock:
            if self.state in {"lost", "closed"} and self._error is not None:
                raise copy.copy(self._error)
            if self.state == "reconnecting":
                raise ConnectionLostError(
                    self.url, "it is being made again; restart the session when it is back"
                )
            error = SessionDiedError(self.session or "private", "it was restarted")
            for link in self._links.values():
                link.close(error)
            self._links = {role: link for role, link in self._links.items() if role is Role.FUNCTIONS}
            is_dead = self.state == "died" or not self.ticket  # or an earlier attempt has failed halfway
            self._error, self.state = None, "attached"
            info = client_info(self.welcome)
            wanted = control.Attach(self._wanted, self._take, info) if is_dead else control.Restart(info)
            self.ticket = b""
            self._attach(wanted)
            self._make_link(Role.DATA)

    def end_session(self, reason: str) -> bool:
        """Have the supervisor end the session's process, whatever it does; False when there is none.

        Args:
            reason: a clause for the `SessionDiedError` that calls get from now on.
        """
        if self.state != "attached" or not self.ticket:
            return False
        self.control.say(control.EndSession(reason))
        return True

    def close(self) -> None:
        """Leave the server; a private session ends with it. May be called more than once, from any thread."""
        with self._lock:
            if self.state == "closed":
                return
            self.state = "closed"
            self._reconnecting.end()
            error = RpcMagicError(f"this connection to {self.url} is closed")
            self._error = error
            if os.getpid() == self.io.pid:
                self.control.say(control.Detach(end=not self._wanted))
            for link in self._links.values():
                link.close(error)
            self.control.close()
            self.io.end()
        self.io.join(2.0)
        self.on_change()


def _processes_of(worker: int) -> tuple[Identity, ...]:
    """Return the process of a session on this machine, and the keeper, which knows of its end."""
    return identity_of(worker), identity_of(parent_of(worker))
