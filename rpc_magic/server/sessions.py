"""The server's sessions: who holds them, what they do, and when they end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable

import psutil

from rpc_magic.errors import RpcMagicError
from rpc_magic.runtime.keptremains import Death
from rpc_magic.runtime.keptsessions import digest_of
from rpc_magic.server.adoption import TakenKeeper
from rpc_magic.server.keeperlink import KeeperLink, WorkerHandle
from rpc_magic.server.keepers import Keepers
from rpc_magic.server.keeping import Keeping
from rpc_magic.server.remains import Remains, RemainsTable
from rpc_magic.server.session import NAME, Holder, Session, SessionError, refusal
from rpc_magic.server.strangers import on_one_line
from rpc_magic.settings import ServerSettings
from rpc_magic.transport.packets import close_all
from rpc_magic.wire import control, internal
from rpc_magic.wire.handshake import Role

__all__ = ["SessionTable"]

log = logging.getLogger(__name__)

_NO_FACTS = internal.SessionFacts("", is_private=True, client=b"", title="", began=0.0)
"""Of a session that no client has ever known of."""

_LOOK_SECONDS, _IDLE_LOOKS = 0.05, 3
"""Between two looks whether calls run, and how many in a row must find none."""


class SessionTable:
    """All sessions of a server; belongs to the event loop.

    Args:
        settings: limits and times.
        make_keepers: makes what makes and ends their workers.
        keeping: keeps them when the server ends.
    """

    def __init__(
        self,
        settings: ServerSettings,
        make_keepers: Callable[[SessionTable], Keepers],
        keeping: Keeping,
    ) -> None:
        self._settings, self._keeping = settings, keeping
        self._sessions: dict[bytes, Session] = {}
        self._names: dict[str, Session] = {}
        self._private = 0
        self.remains = RemainsTable(settings)
        for death, spool, forget in keeping.left():
            self.remains.add(Remains(death, True, spool, forget, time.monotonic()))
        self._is_closing = False
        self.keepers = make_keepers(self)

    # ------------------------------------------------------------ attaching

    async def attach(self, request: control.Attach, holder: Holder, cwd: str) -> tuple[Session, bool]:
        """Give `holder` the session it asks for; tell whether it was made for it.

        Raises:
            SessionError: it cannot have it.
        """
        if request.ticket:
            return self._attach_again(request.ticket, holder), False
        if len(request.session) > NAME:
            raise refusal("failed", f"a session's name has {NAME} characters at most")
        session = self._names.get(request.session) if request.session else None
        if session is None:
            return await self._create(request, holder, cwd), True
        if session.is_private:
            raise refusal(
                "failed", f"{session.name!r} names a private session of another client; use another name"
            )
        if session.state != "alive":
            raise refusal("busy", f"session {session.name!r} is {session.state}; try again in a moment")
        other = session.holder
        if other is not None and other.process != holder.process:
            silent = time.monotonic() - other.heard
            if not request.take and silent < self._settings.silent_seconds:
                since = time.monotonic() - session.held_since
                raise SessionError(control.NotAttached("in_use", "the session is in use", other.title, since))
        if other is not None and other is not holder:
            is_own = other.process == holder.process
            other.say(control.Taken("another connection of this process" if is_own else holder.title))
            if not is_own:
                log.info("%s took session %.80r over from %s", holder.title, session.name, other.title)
            session.holder = None
            other.close()
        self._hold(session, holder)
        return session, False

    def _attach_again(self, ticket: bytes, holder: Holder) -> Session:
        """Give a session back to the client whose connection broke."""
        session = self._sessions.get(ticket)
        if session is None or session.state != "alive":
            death = self.remains.death(ticket)
            cause = death.cause if death else "its server was started anew"
            words = death.last_words if death else ""
            raise SessionError(control.NotAttached("ended", cause, last_words=words))
        if session.client_id != holder.client_id:
            raise SessionError(control.NotAttached("taken", "the session was taken over", session.title))
        if session.holder is not None and session.holder is not holder:
            session.holder.close()
        self._hold(session, holder)
        return session

    async def restart(
        self, session: Session, client: control.ClientInfo, holder: Holder, cwd: str
    ) -> Session:
        """End a session's worker and make a new one under the same name.

        Raises:
            SessionError: no new one could be made.
        """
        session.holder = None
        await self.end(session)
        self._keeping.forget(session)
        request = control.Attach("" if session.is_private else session.name, take=False, client=client)
        return (await self.attach(request, holder, cwd))[0]  # who came just now may have the name

    async def _create(self, request: control.Attach, holder: Holder, cwd: str) -> Session:
        if self._is_closing:
            raise refusal("busy", "the server is about to end and makes no new sessions")
        limit = self._settings.sessions
        if len(self._sessions) >= limit:
            raise refusal(
                "busy", f"the server has its {limit} sessions; end one, or raise its --max-sessions"
            )
        name = request.session
        if not name:
            self._private += 1
            while (name := f"private-{self._private}") in self._names:  # that of an adopted one
                self._private += 1
        ticket = self._keeping.former_ticket(request)
        if not ticket or ticket in self._sessions:
            ticket = secrets.token_bytes(16)
        session = Session(name, not request.session, ticket, time.monotonic())
        self._sessions[session.ticket] = self._names[name] = session
        worker = await self._begin(session, request.client, cwd)
        self._hold(session, holder)
        remains = self.remains.take(request.session)
        if remains is not None:
            session.died = remains.death.cause
            if remains.spool >= 0:
                worker.inherit(remains.death.cause, remains.death.last_words, remains.spool)
            remains.close()
        return session

    async def _begin(self, session: Session, client: control.ClientInfo, cwd: str) -> WorkerHandle:
        """Have a session's worker made."""
        try:
            session.keeper = await self.keepers.current()
            limits = self._settings.message, self._settings.calls, self._settings.output
            folder = client.cwd or cwd
            worker = await session.keeper.fork(
                internal.Fork(session.ticket, session.name, folder, client.path, client.environ, *limits)
            )
        except RpcMagicError as error:
            self._forget(session)
            raise refusal("failed", str(error)) from error
        except asyncio.CancelledError:  # the client has gone meanwhile, and knows nothing of it
            self._forget(session)
            raise
        if session.state == "ended":  # `worker_exited` was told of it before this
            worker.close()
            raise refusal(
                "failed", f"the session's process ended as soon as it was made: {session.end_reason}"
            )
        session.worker, session.state = worker, "alive"
        return worker

    def _hold(self, session: Session, holder: Holder) -> None:
        session.holder, session.held_since = holder, time.monotonic()
        session.client_id, session.title = holder.client_id, holder.title
        if session.keeper is not None:
            session.keeper.remember(session.ticket, session.facts)

    def adopt(self, taken: TakenKeeper) -> int:
        """Go on with the sessions of an earlier supervisor's keeper; return how many there are."""
        keeper = self.keepers.adopt(taken)
        for living, link, page in taken.living:
            facts = living.facts or _NO_FACTS
            session = Session(facts.name, facts.is_private, living.ticket, facts.began, "alive")
            session.worker, session.keeper = keeper.hold(living.ticket, living.pid, link, page), keeper
            session.client_id, session.title, session.left_at = facts.client, facts.title, time.monotonic()
            self._sessions[session.ticket] = self._names[session.name] = session
            if living.facts is None:
                self._tell_end(session, "no client has ever known of it")
        for exited, spool in taken.ended:
            facts = exited.facts or _NO_FACTS
            if spool >= 0:
                keeper.note_left(exited.ticket)
            self._note_end(exited, exited.cause, facts, spool, keeper, has_died=spool >= 0)
        self.keepers.let_go(keeper)
        return len(taken.living)

    # ------------------------------------------------------------ while it lives

    def pass_socket(self, ticket: bytes, role: Role, client: bytes, resume: int, descriptor: int) -> bool:
        """Give a proved connection to the session's worker; False when there is none, or it takes none."""
        session = self._sessions.get(ticket)
        if session is None or session.worker is None or session.state != "alive":
            return False
        return session.worker.adopt(role, client, resume, descriptor)

    def kept_of(self, session: Session) -> control.KeptSession | None:
        """Return what an earlier server has kept of a session, and nobody has had it load yet."""
        return self._keeping.find(session)

    def has(self, ticket: bytes) -> bool:
        """Tell whether a session of this ticket lives."""
        session = self._sessions.get(ticket)
        return session is not None and session.state == "alive"

    def interrupt(self, session: Session, call: int) -> None:
        """Send SIGINT to the worker, meant for `call` (0: whatever runs)."""
        if session.worker is not None and session.state == "alive":
            running, _ = session.running_call
            is_running = running != 0 and call in {0, running}
            if is_running and session.interrupted[0] != running:
                session.interrupted = running, time.monotonic()
            session.worker.interrupt(call, is_running=is_running)

    def pong(self, session: Session | None, number: int) -> control.Pong:
        """Say what is known of a session without asking it."""
        if session is None:
            return control.Pong(number, "none")
        if session.worker is None:
            return control.Pong(number, "ended")
        call, began = session.running_call
        memory, cpu = 0, 0.0
        with contextlib.suppress(psutil.Error, OSError):  # OSError: no descriptor is left to look
            process = psutil.Process(session.worker.pid)
            memory = process.memory_info().rss
            cpu = sum(process.cpu_times()[:2])
        busy = time.monotonic() - began if call else 0.0
        interrupted, since = session.interrupted
        stopping = time.monotonic() - since if call and interrupted == call else 0.0
        return control.Pong(number, "busy" if call else "idle", call, busy, memory, cpu, stopping)

    def listing(self) -> tuple[control.SessionInfo, ...]:
        """Return what there is to say of each session."""
        now = time.monotonic()
        return tuple(
            control.SessionInfo(
                s.name,
                s.is_private,
                s.worker.pid if s.worker else 0,
                ("busy" if s.running_call[0] else "idle") if s.state == "alive" else s.state,
                now - s.began,
                s.holder.title + ", silent" * s.holder.is_silent if s.holder else "",
            )
            for s in self._sessions.values()
        ) + tuple(
            control.SessionInfo(one.death.session, False, 0, "died", now - one.at, "", one.death.cause)
            for one in self.remains.dead()
        )

    # ------------------------------------------------------------ ends

    def leave(self, holder: Holder, session: Session, *, end: bool) -> None:
        """The client of a session has gone: for good, or vanished."""
        if session.holder is not holder:
            return
        session.holder, session.left_at = None, time.monotonic()
        if end and session.is_private and session.state == "alive":
            self._tell_end(session, "its client has left")

    def sweep(self) -> None:
        """End the sessions whose time is over; called from time to time."""
        self.remains.sweep()
        now = time.monotonic()
        for session in list(self._sessions.values()):
            if session.holder is not None or session.state != "alive":
                continue
            kept = self._settings.vanished_seconds if session.is_private else self._settings.session_ttl
            if not session.is_private and session.is_busy:
                session.left_at = now  # it has been idle from the end of what runs
            elif now - session.left_at > kept:
                self._tell_end(session, f"no client has come to it for {kept:g} s")

    async def wind_down(self, seconds: float) -> None:
        """Make no new sessions; return when nothing runs any more, or after so many seconds."""
        self._is_closing = True
        await self._wait_until_idle(seconds, lambda session: session.is_busy)

    async def _wait_until_idle(self, seconds: float, is_busy: Callable[[Session], object]) -> None:
        def is_any_busy() -> bool:
            return any(is_busy(session) for session in self._sessions.values())

        deadline = time.monotonic() + seconds
        idle = 0 if is_any_busy() else _IDLE_LOOKS
        while idle < _IDLE_LOOKS and time.monotonic() < deadline:
            await asyncio.sleep(_LOOK_SECONDS)
            idle = 0 if is_any_busy() else idle + 1  # several times: the outcome has still to leave

    async def interrupt_all(self) -> None:
        """Interrupt whatever runs in any session; its own cleaning up is the last thing that a call may do."""
        for session in self._sessions.values():
            if session.running_call[0]:
                self.interrupt(session, 0)
        await self._wait_until_idle(self._settings.end_seconds, lambda session: session.running_call[0])

    async def keep_all(self, reason: str) -> None:
        """Have all sessions keep their variables, where that is wanted; what runs even now is interrupted.

        Args:
            reason: what clients are told whose calls are interrupted.
        """
        for session in self._sessions.values():
            if session.running_call[0] and session.holder is not None:
                session.holder.say(control.Goodbye(reason))
        if self._keeping.is_on:
            living = [session for session in self._sessions.values() if session.state == "alive"]
            await asyncio.gather(
                self._keeping.keep(living, lambda session: self.interrupt(session, 0)),
                self._keeping.keep_left(self.remains.with_spool()),
            )
        else:
            await self.interrupt_all()

    def end_now(self, session: Session, reason: str) -> None:
        """End a session because its client says so; `reason` is what the client is told afterwards."""
        if session.state == "alive":
            self._tell_end(session, reason)

    async def end(self, session: Session) -> None:
        """End a session and wait until its worker is gone."""
        if session.state == "alive":
            self._tell_end(session, "it was restarted")
        await session.ended.wait()

    def _tell_end(self, session: Session, reason: str) -> None:
        session.state, session.end_reason = "ending", reason
        if session.keeper is not None:
            session.keeper.end(session.ticket)

    def worker_exited(self, message: internal.Exited, spool: int) -> None:
        """Take note of a worker's end, and tell its client; `spool` is what it has left, -1 for nothing."""
        session = self._sessions.get(message.ticket)
        if session is None or session.keeper is None:
            close_all([spool] if spool >= 0 else [])
            return
        cause = session.end_reason or message.cause
        log.info("session %.80r ended: %s", session.name, on_one_line(cause, 200))
        has_died = not session.end_reason and session.state != "starting"
        session.end_reason = cause
        ended = self._note_end(message, cause, session.facts, spool, session.keeper, has_died=has_died)
        if session.holder is not None:
            session.holder.say(ended)
        self._forget(session)

    def _note_end(
        self,
        message: internal.Exited,
        cause: str,
        facts: internal.SessionFacts,
        spool: int,
        keeper: KeeperLink,
        *,
        has_died: bool,
    ) -> control.SessionEnded:
        owner, client = digest_of(message.ticket), digest_of(facts.client)
        death = Death(facts.name, facts.is_private, owner, client, cause, message.last_words)

        def forget() -> None:
            keeper.forget(message.ticket)
            self.keepers.let_go(keeper)

        self.remains.add(Remains(death, has_died, spool, forget, time.monotonic()))
        return control.SessionEnded(facts.name, message.ticket, cause, message.last_words, spool >= 0)

    def _forget(self, session: Session) -> None:
        session.state = "ended"
        self._sessions.pop(session.ticket, None)
        if self._names.get(session.name) is session:
            del self._names[session.name]
        if session.worker is not None:
            session.worker.close()
            session.worker = None
        session.ended.set()
