"""How an attachment comes back after a cut: its control connection first, then its links, each where it broke off.

It runs on the thread of `rpc_magic.client.reconnecting`, which says when; here is what one attempt does, and when there
is no use in another one.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import TYPE_CHECKING

from rpc_magic.client.introducing import client_info, is_on_this_machine
from rpc_magic.client.link import Link
from rpc_magic.client.locating import has_ended
from rpc_magic.client.reconnecting import Reconnecting, Retry
from rpc_magic.errors import (
    AuthenticationError,
    ConnectError,
    ConnectionLostError,
    RpcMagicError,
    SessionDiedError,
)
from rpc_magic.runtime.processes import Identity, identity_of, parent_of
from rpc_magic.settings import ClientSettings
from rpc_magic.wire import control
from rpc_magic.wire.handshake import Role

if TYPE_CHECKING:
    from rpc_magic.client.attachment import Attachment

__all__ = ["LIVE", "Recovery"]

LIVE = frozenset({"attached", "reconnecting"})
"""States of an attachment in which it has its session, or comes back to it."""

_CONNECTED = LIVE | {"died"}
"""States in which it is connected, or comes back: without a session there are still calls by name, and `restart`."""

_NOT_KNOWN = "whether the calls that had not ended were run is not known"
_UNKNOWN = {
    Role.DATA: "the session could not go on where the connection broke",
    Role.FUNCTIONS: f"the program that ran the calls by name has forgotten them, or was started anew; {_NOT_KNOWN}",
    Role.ENGINE: f"the session's engine has forgotten the tasks, or has another client; {_NOT_KNOWN}",
}
"""What it means when the other side of a link knows nothing of it."""

_LOOK_SECONDS = 0.05
"""Between two looks whether an answer is still waited for."""


class Recovery:
    """See the module's text.

    Args:
        attachment: what comes back.
        settings: its times.
    """

    def __init__(self, attachment: Attachment, settings: ClientSettings) -> None:
        self._attachment, self._settings = attachment, settings
        self._reconnecting = Reconnecting(settings, self._is_cut, self._come_back, self._note_retry)
        self._processes: tuple[Identity, ...] = ()  # that the session needs, where they can be seen
        self._supervisor: Identity | None = None  # likewise; the program that exposes functions ends with it
        self._cut_at = 0.0
        self._death: SessionDiedError | None = None
        self._resuming: Role | None = None
        self._resumed: queue.SimpleQueue[bool] = queue.SimpleQueue()

    def start(self) -> None:
        """Something is cut: connect it again. Any thread."""
        self._reconnecting.start()

    def end(self) -> None:
        """Try no more; may be called more than once."""
        self._reconnecting.end()

    def note_death(self, error: SessionDiedError) -> None:
        """I/O thread: the session has died, and the server has more of what it said than it may have sent."""
        self._death = error
        link = self._attachment.links.get(Role.DATA)
        if link is not None:
            link.cut()  # what carried it is gone, or will be at once
        self.start()

    def note_session(self, worker_pid: int) -> None:
        """The attachment has another session, of this process."""
        self._death = None
        is_here = is_on_this_machine(self._attachment.welcome)
        self._processes = (identity_of(worker_pid), identity_of(parent_of(worker_pid))) if is_here else ()

    def note_server(self) -> None:
        """The attachment speaks with another supervisor."""
        welcome = self._attachment.welcome
        self._supervisor = identity_of(welcome.pid) if is_on_this_machine(welcome) else None

    def note_lost(self, role: Role) -> None:
        """I/O thread: the connection of a link is gone."""
        if role is self._resuming:
            self._resuming = None
            self._resumed.put(False)
        self.start()

    def note_resumed(self, role: Role, *, is_known: bool) -> None:
        """Whoever reads: the other side goes on with the link of `role`, or knows nothing of it."""
        if not is_known:
            self._give_up(role, _UNKNOWN[role])
        self._resuming = None
        self._resumed.put(is_known)

    def _give_up(self, role: Role, detail: str) -> None:
        link = self._attachment.links.get(role)
        if link is not None:
            link.close(ConnectionLostError(self._attachment.url, detail))

    def is_passing(self, role: Role, error: RpcMagicError, *, is_early: bool) -> bool:
        """Tell whether a first connection of a link, which has failed, may yet be had. Any thread.

        Args:
            role: of the link; one to a program does without a session.
            error: why it failed.
            is_early: it is too early to believe the server that it has no such thing.
        """
        state = self._attachment.state
        is_live = state in LIVE or (role is Role.FUNCTIONS and state == "died")
        if isinstance(error, AuthenticationError) or not is_live:
            return False
        is_networks = isinstance(error, ConnectionLostError) or isinstance(
            error.__cause__, (OSError, EOFError)
        )
        return is_networks or is_early or state == "reconnecting"

    # ------------------------------------------------------------ the thread that connects again

    def _is_cut(self) -> bool:
        """Tell whether something has still to be connected again."""
        attachment = self._attachment
        is_cut = attachment.control.is_gone or bool(attachment.links.cut_off())
        return (is_cut or self._death is not None) and attachment.state in _CONNECTED

    def _note_retry(self, retry: Retry | None) -> None:
        attachment = self._attachment
        if retry is not None and attachment.retry is None:
            self._cut_at = time.monotonic()
        attachment.retry = retry
        attachment.turn("attached" if retry is None else "reconnecting", LIVE)
        attachment.on_change()

    def _come_back(self) -> bool:
        """One attempt to connect what was cut; tell whether it has brought anything back."""
        attachment, is_back = self._attachment, False
        try:
            if attachment.control.is_gone:
                self._attach_again()
                is_back = True
            for role, link in attachment.links.cut_off():
                is_back = self._resume(role, link) or is_back
        except SessionDiedError as error:
            self._death = error
        except (AuthenticationError, ConnectionLostError, ConnectError) as error:
            self._consider(error)
        death = self._death
        if death is not None and not attachment.control.is_gone and self._is_all_here():
            self._die(death)
            is_back = True
        return is_back

    def _attach_again(self) -> None:
        attachment, seconds = self._attachment, self._settings.connect_seconds
        link = attachment.dial_control(seconds)
        try:
            welcome = link.welcome(seconds)
            if attachment.ticket and attachment.state in LIVE:
                info = client_info(welcome)
                request = control.Attach(attachment.wanted, take=False, client=info, ticket=attachment.ticket)
                attachment.check(link.ask(request, control.Attached, seconds))
        except SessionDiedError:
            attachment.take_control(link, welcome)  # the server is there, and can give a new session
            raise
        except BaseException:
            link.close()
            raise
        attachment.take_control(link, welcome)
        attachment.stop_again()

    def _resume(self, role: Role, link: Link) -> bool:
        attachment = self._attachment
        if role is Role.FUNCTIONS and not attachment.welcome.has_functions:
            self._give_up(role, f"the server exposes no functions any more; {_NOT_KNOWN}")
            return False
        deadline = time.monotonic() + self._settings.connect_seconds
        due = link.due
        sock = attachment.dial(role, self._settings.connect_seconds, due)
        is_done = self._resumed = queue.SimpleQueue()

        def go_on() -> None:
            if link.resume(sock, due):
                self._resuming = role
            else:
                is_done.put(False)

        attachment.io.do(go_on)
        # Nobody waits for an answer when the session has ended meanwhile, or is left.
        while attachment.state in _CONNECTED and not link.is_gone:
            with contextlib.suppress(queue.Empty):
                return is_done.get(timeout=_LOOK_SECONDS)
            if time.monotonic() > deadline:
                attachment.io.do(link.cut_unanswered)
                break
        return False

    def _is_all_here(self) -> bool:
        """The session has died: take in what it had not sent; False when that was cut, and is to be tried again."""
        attachment = self._attachment
        link = attachment.links.get(Role.DATA)
        if link is None:
            return True
        try:
            if not (link.is_gone or link.is_up or link.has_all):
                self._resume(Role.DATA, link)
        except ConnectError as error:
            return error.is_final or isinstance(error, AuthenticationError)
        while link.is_up and not link.has_all and attachment.state in LIVE:
            time.sleep(_LOOK_SECONDS)
        return link.is_gone or link.has_all

    def _die(self, error: SessionDiedError) -> None:
        """End the session's links, unless it has been given a new process meanwhile; return when that is done."""
        attachment, is_done = self._attachment, threading.Event()

        def do() -> None:
            if self._death is error:
                self._death = None
                attachment.die(error)
            is_done.set()

        attachment.io.do(do)
        while not is_done.wait(_LOOK_SECONDS) and attachment.state in LIVE:
            pass

    def _consider(self, error: RpcMagicError) -> None:
        """An attempt has failed; give up where no other one can succeed."""
        attachment = self._attachment
        if self._supervisor is not None and not self._supervisor.is_alive:
            self._give_up(Role.FUNCTIONS, f"the server was killed, and the program with it; {_NOT_KNOWN}")
        is_over = time.monotonic() - self._cut_at > self._settings.reconnect_seconds
        if isinstance(error, AuthenticationError) or is_over:
            attachment.lose(ConnectionLostError(attachment.url, str(error)))
        elif isinstance(error, ConnectionLostError) and error.is_taken_over:
            attachment.lose(error)
        elif attachment.is_embedded and has_ended(0.0):
            attachment.lose(ConnectionLostError(attachment.url, "the embedded server has ended"))
        elif self._processes and _is_nobody_there(error) and not any(p.is_alive for p in self._processes):
            detail = "the server was killed, and the session with it"
            attachment.lose(ConnectionLostError(attachment.url, detail))


def _is_nobody_there(error: RpcMagicError) -> bool:
    """Tell whether nothing listens at the address; a server that does can say how the session has ended."""
    return isinstance(error.__cause__, (FileNotFoundError, ConnectionRefusedError))
