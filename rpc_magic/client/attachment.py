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

import copy
import os
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
from rpc_magic.client.links import Links
from rpc_magic.client.locating import Place
from rpc_magic.client.reconnecting import Retry, pause_before
from rpc_magic.client.recovery import LIVE, Recovery
from rpc_magic.client.stops import Stops
from rpc_magic.errors import (
    ConnectError,
    ConnectionLostError,
    RpcMagicError,
    SessionDiedError,
    SessionInUseError,
)
from rpc_magic.runtime.processes import python_tag
from rpc_magic.settings import ClientSettings
from rpc_magic.transport.iothread import IoThread
from rpc_magic.wire import control
from rpc_magic.wire.handshake import Role

__all__ = ["Attachment"]


class Attachment:
    """See the module's text. Thread-safe.

    Args:
        place: the server and its token.
        session: the session's name, empty for a private one.
        take: take the session over from another client.
        is_plain_only: have nothing but plain data sent as values.
        timeout: seconds to connect.
        former: gives the ticket of a session that is to be had back; see `rpc_magic.client.restoring`.

    Attributes:
        welcome: the server's greeting.
        ticket: the session's, empty bytes before there is one.
        session: its name.
        kept: what an earlier server has kept of it, for it to load.
        code: how functions travel: as source between different versions of Python.
        pong: what the supervisor last said of the session.
        wanted: the name it was asked for by, empty for a private one.
        retry: which attempt to reconnect runs or is next; None while it is not reconnecting.
        on_change: called on any thread when `state`, `retry` or `pong` has changed.
        links: those that have been used.
        nearest: the shortest time that connecting has taken, in seconds.
    """

    def __init__(
        self,
        place: Place,
        session: str,
        *,
        take: bool,
        is_plain_only: bool,
        timeout: float,
        former: Callable[[control.Welcome], bytes] = lambda _: b"",
    ) -> None:
        self._place, self.wanted, self._take = place, session, take
        self._settings = ClientSettings()
        self._lock = threading.RLock()
        self._turning = threading.Lock()
        self.links = Links(self, self._settings.held, is_plain_only=is_plain_only)
        self._error: Exception | None = None
        self.url = place.address.url
        self.timeout = timeout
        self.ticket = b""
        self.session = ""
        self.worker_pid = 0
        self.is_new, self.died = False, ""
        self.kept: control.KeptSession | None = None
        self._former = former
        self.state = "attached"
        self.code: serial.CodeMode = "bytecode"
        self.pong: control.Pong | None = None
        self.on_change: Callable[[], None] = lambda: None
        self._process = process_id()
        self._client_id = secrets.token_bytes(16)  # another connection of this process is another client
        self._stops = Stops(self.links)
        self.retry: Retry | None = None
        self.nearest = float("inf")
        deadline = time.monotonic() + timeout
        sock = self.dial(Role.CONTROL)
        self.io = IoThread()
        self._recovery = Recovery(self, self._settings)
        self._is_greeted = False  # until then a lost connection is this call's error, and not made again
        self._heartbeat = Heartbeat(self._settings, self._ping, self.cut)
        self.control = self._control_link(sock)
        try:
            self.welcome = self.control.welcome(max(0.1, deadline - time.monotonic()))
            self._recovery.note_server()
            self._is_greeted = True
            if self.control.is_gone:
                self._control_lost()
            self.code = "bytecode" if self.welcome.python == python_tag() else "source"
            self.io.every(min(1.0, self._settings.beat_seconds), self._beat)
            if self.welcome.has_sessions and (session or place.is_embedded or not self.welcome.has_functions):
                self._make_link(Role.DATA)
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
        return not self.wanted

    @property
    def is_embedded(self) -> bool:
        """True for a server that this process has started for itself."""
        return self._place.is_embedded

    # ------------------------------------------------------------ links

    def link(self, role: Role) -> Link:
        """Return the connection for `role`; the first use makes it, and a session where one is needed.

        It does not fail because the network does: it is tried again, as a connection that breaks is.

        Raises:
            RpcMagicError: there is none to be had; the error says why.
        """
        link = self.links.get(role)
        if (
            link is not None
            and not link.is_gone
            and self._process is process_id()  # a forked child must not write between its parent's frames
            and (self.state in LIVE or role is Role.FUNCTIONS)
        ):
            return link
        began, attempt = time.monotonic(), 1
        while True:
            try:
                with self._lock:
                    return self._make_link(role)
            except (ConnectError, ConnectionLostError) as error:
                # One that the server has refused may have ended: the supervisor says why within a moment.
                is_early = time.monotonic() - began < self._settings.lost_seconds
                if self.io.is_current or not self._recovery.is_passing(role, error, is_early=is_early):
                    raise
            attempt += 1
            time.sleep(pause_before(attempt, self._settings))

    def _make_link(self, role: Role) -> Link:
        link = self.links.get(role)
        if self._error is not None and not (role is Role.FUNCTIONS and self.state == "died"):
            raise copy.copy(self._error)  # the one that is kept must not gather tracebacks
        if self._process != process_id():
            raise RpcMagicError("a connection cannot be used in a forked child process: connect() there")
        if link is not None and not link.is_gone:
            return link
        if role is not Role.FUNCTIONS and not self.ticket:
            info = client_info(self.welcome)
            self._attach(control.Attach(self.wanted, self._take, info, former=self._former(self.welcome)))
        return self.links.make(role)

    def _attach(self, request: control.Control) -> None:
        if not self.welcome.has_sessions:
            raise RpcMagicError(
                f"the server {self.welcome.name} runs its exposed functions and nothing else: "
                "call them by name, as conn.call('add', 2, 3); dir(conn.functions) lists them"
            )
        with Deferred():  # an answer that nobody took would be taken for the next one's
            answer = self.check(self.control.ask(request, control.Attached, self.timeout))
            self.ticket, self.session, self.worker_pid = answer.ticket, answer.session, answer.worker_pid
            self.is_new, self.died, self.kept = answer.is_new, answer.died, answer.kept
            self._recovery.note_session(answer.worker_pid)

    def check(self, answer: control.Attached | control.NotAttached) -> control.Attached:
        """Return an answer that gives the session; raise what another one says."""
        if isinstance(answer, control.Attached):
            return answer
        match answer.kind:
            case "in_use":
                raise SessionInUseError(self.url, self.wanted, answer.holder, answer.since)
            case "ended":
                raise SessionDiedError(self.session or "private", answer.reason, answer.last_words)
            case "taken":
                raise self._taken_by(answer.holder)
        raise ConnectError(self.url, answer.reason)

    def _taken_by(self, holder: str) -> ConnectionLostError:
        return ConnectionLostError(self.url, f"{holder} took the session over", is_taken_over=True)

    # ------------------------------------------------------------ coming back after a cut

    def dial(self, role: Role, timeout: float | None = None, resume: int = 0) -> socket.socket:
        """Connect, within `timeout` seconds (None: the attachment's); see `rpc_magic.client.dialing.dial`."""
        place, began = self._place, time.monotonic()
        ticket = self.ticket if role in {Role.DATA, Role.ENGINE} else bytes(16)
        deadline = began + (self.timeout if timeout is None else timeout)
        token = place.current_token()
        sock = dial(place.address, token, role, self._client_id, deadline, ticket, resume)
        self.nearest = min(self.nearest, time.monotonic() - began)
        return sock

    def dial_control(self, timeout: float) -> ControlLink:
        """Connect to the supervisor, within `timeout` seconds."""
        return self._control_link(self.dial(Role.CONTROL, timeout))

    def _control_link(self, sock: socket.socket) -> ControlLink:
        return ControlLink(sock, self.url, self.io, self._hear, self._control_lost, self._heartbeat.heard)

    def take_control(self, link: ControlLink, welcome: control.Welcome) -> None:
        """Speak with the supervisor on this connection from now on."""
        self.control, self.welcome = link, welcome
        self._recovery.note_server()

    def _ping(self) -> None:
        self.control.ping()

    def _beat(self) -> None:
        """I/O thread, every second."""
        self._heartbeat.beat()
        self.links.acknowledge()

    def cut(self) -> None:
        """I/O thread: nothing has come from the server for too long; take its connections for gone."""
        self.links.cut()
        self.control.cut()

    def turn(self, state: str, allowed: frozenset[str], error: Exception | None = None) -> bool:
        """Change the state, when it is one of `allowed`; the first error of an end stays. Any thread."""
        with self._turning:
            if self.state not in allowed:
                return False
            self.state = state
            if error is not None:
                self._error = self._error or error
            return True

    def interrupt(self, call: int) -> None:
        """Interrupt a call while it is the one that runs; 0 means whatever runs. Any thread.

        What is said just before a cut may not arrive: it is said again on the next connection, while the call runs.
        """
        self._stops.note(call, is_cut=self.control.is_gone)
        self.control.say(control.Interrupt(call))
        self.links.hurry(call)

    def stop_again(self) -> None:
        """The control connection is back: say what may have been lost with the earlier one."""
        for call in self._stops.take():
            self.control.say(control.Interrupt(call))

    # ------------------------------------------------------------ what is told (I/O thread)

    def _hear(self, message: control.ToClient) -> None:
        match message:
            case control.SessionEnded(session, ticket, cause, last_words, has_rest) if ticket == self.ticket:
                error = SessionDiedError(session, cause, last_words)
                if has_rest:
                    self._recovery.note_death(error)
                else:
                    self.die(error)
            case control.Taken(holder):
                self.lose(self._taken_by(holder))
            case control.Goodbye(reason):
                self.links.read_rest()  # what was finished before
                self.lose(ConnectionLostError(self.url, reason))
            case control.Pong():
                self.pong = message
                self.on_change()

    def die(self, error: SessionDiedError) -> None:
        """The session has ended."""
        if not self.turn("died", LIVE, error):
            return  # the server has said that it ends, and its sessions with it
        for role, link in list(self.links.items()):
            if role is not Role.FUNCTIONS:  # those run in a program, which lives on
                link.read_rest()
                link.close(error)
                link.fail_all(error)
        self.on_change()

    def lose(self, error: ConnectionLostError) -> None:
        """The server has gone for good, or has given the session to another client. Any thread."""
        if not self.turn("lost", LIVE | {"died"}, error):
            return
        self.links.fail(error)
        self.on_change()

    def _control_lost(self) -> None:
        if self._is_greeted and (self.state in LIVE or self.state == "died"):
            self._recovery.start()

    def note_resumed(self, role: Role, *, is_known: bool) -> None:
        """Whoever reads: the other side goes on with the link of `role`, or knows nothing of it."""
        self._recovery.note_resumed(role, is_known=is_known)

    def link_lost(self, role: Role, detail: str, *, can_resume: bool) -> Exception | None:
        """A connection has ended: it is made again, or the supervisor says why within a moment."""
        if self._error is not None and not (role is Role.FUNCTIONS and self.state == "died"):
            return self._error
        if can_resume:
            self._recovery.note_lost(role)
            return None
        error = ConnectionLostError(self.url, detail)
        if self.control.is_gone:
            return error
        link = self.links.get(role)

        def give_up() -> None:
            if link is not None:
                self.io.do(lambda: link.fail_all(self._error or error))

        timer = threading.Timer(self._settings.lost_seconds, give_up)
        timer.daemon = True
        timer.start()
        return None

    def drop(self, ticket: str, key: str) -> None:
        """I/O thread: let the session forget a kept value. Waits for nothing, makes no connection."""
        if ticket == self.ticket.hex():
            self.links.drop_value(key)

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
            for link in self.links.values():
                link.close(error)
            for role in set(self.links) - {Role.FUNCTIONS}:
                del self.links[role]
            is_dead = self.state == "died" or not self.ticket  # or an earlier attempt has failed halfway
            self._error, self.state = None, "attached"
            info = client_info(self.welcome)
            wanted = control.Attach(self.wanted, self._take, info) if is_dead else control.Restart(info)
            self.ticket = b""
            self._attach(wanted)
            self.links.make(Role.DATA)

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
            self._recovery.end()
            error = RpcMagicError(f"this connection to {self.url} is closed")
            self._error = error
            if os.getpid() == self.io.pid:
                self.links.acknowledge()  # else the next client would be offered what has come already
                self.control.say(control.Detach(end=not self.wanted))
            for link in self.links.values():
                link.close(error)
            self.control.close()
            self.io.end()
        self.io.join(2.0)
        self.on_change()
