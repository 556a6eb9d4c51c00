"""The supervisor: one event loop that listens, proves, hands sockets over, watches and reports."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from pathlib import Path

import psutil

from rpc_magic.errors import RpcMagicError
from rpc_magic.runtime import keptsessions, records
from rpc_magic.runtime.addresses import Address, parse_address
from rpc_magic.runtime.folders import socket_place
from rpc_magic.runtime.launch import SupervisorConfig
from rpc_magic.runtime.processes import machine_id, python_tag, start_time, user_name
from rpc_magic.runtime.versions import own_versions
from rpc_magic.server.admission import Admission
from rpc_magic.server.adoption import TakenKeeper, identity
from rpc_magic.server.certificates import Identity
from rpc_magic.server.clients import ClientConnection, connect_client
from rpc_magic.server.keepers import Keepers, Start
from rpc_magic.server.keeping import Keeping
from rpc_magic.server.listening import reachable
from rpc_magic.server.remains import open_spool, send_rest
from rpc_magic.server.session import Session
from rpc_magic.server.sessions import SessionTable
from rpc_magic.server.strangers import BrokenLog
from rpc_magic.server.tokens import TokenSource
from rpc_magic.settings import ServerSettings
from rpc_magic.transport.packets import PacketSocket
from rpc_magic.wire import control, internal
from rpc_magic.wire.handshake import Hello, Role, Verdict

__all__ = ["Supervisor"]

log = logging.getLogger("rpc_magic.server")

_SWEEP_SECONDS = 5.0
_TOLD = "the server was told to end"


class Supervisor:
    """One server; made inside a running event loop.

    Args:
        config: what it was told.
        listener, address: where it listens.
        token, token_file: 32 bytes, and where they are kept ("" for nowhere).
        keeper: process id of and socket to the keeper; None without sessions.
        start_keeper: starts another one.
        program: socket to the program that exposes functions, or None.
        tls: its certificate and key; None without TLS.
    """

    def __init__(
        self,
        config: SupervisorConfig,
        listener: socket.socket,
        address: Address,
        token: bytes,
        token_file: str,
        keeper: tuple[int, socket.socket] | None,
        start_keeper: Start,
        program: PacketSocket | None,
        tls: Identity | None,
    ) -> None:
        self.config, self.address = config, address
        self.url = _url_for_clients(address, tls)
        self.name = config.name or _name_of(address)
        self.cwd = config.cwd or str(Path.home())
        self.clients: set[ClientConnection] = set()
        self.sessions: SessionTable | None = None
        self.broken = BrokenLog()
        self._listener, self._program = listener, program
        self._versions = own_versions()
        self._began = time.monotonic()
        self._settings = ServerSettings(
            orphan_seconds=config.orphan_seconds,
            session_ttl=config.session_ttl,
            sessions=config.max_sessions,
            stop_seconds=config.stop_seconds,
            **config.limits,
        )
        self._sending: set[asyncio.Task[None]] = set()  # what sessions had not sent when they died
        self._ended = asyncio.Event()
        self._is_program_finished = asyncio.Event()
        self._winding_down: asyncio.Task[None] | None = None
        if keeper is not None:
            self.sessions = SessionTable(
                self._settings,
                lambda table: Keepers(keeper, start_keeper, table.worker_exited, self._keeper_gone),
                Keeping(_kept_identity(config, address), self._settings),
            )
        self._admission = Admission(
            TokenSource(token, token_file).good, self._settings, self._check, self._admit, tls
        )
        self._record = records.ServerRecord(
            self.name, self.url, os.getpid(), start_time(os.getpid()), token_file
        )

    # ------------------------------------------------------------ what connections ask

    def welcome(self) -> control.Welcome:
        """Return the greeting of a control connection."""
        return control.Welcome(
            name=self.name,
            url=self.url,
            pid=os.getpid(),
            host=socket.gethostname(),
            user=user_name(),
            machine=machine_id(),
            python=python_tag(),
            versions=self._versions,
            has_sessions=self.sessions is not None,
            has_functions=self._program is not None,
            plain_arguments=self.config.plain_arguments,
            payload=self._settings.message,
        )

    def machine(self, session: Session | None) -> control.Machine:
        """Return how this machine is, for the client of a session."""
        memory = psutil.virtual_memory()
        now = time.monotonic()
        return control.Machine(
            processors=os.cpu_count() or 1,
            load=psutil.cpu_percent(interval=None),
            memory=memory.total,
            memory_used=memory.total - memory.available,
            uptime=now - self._began,
            session_age=now - session.began if session is not None else 0.0,
        )

    def _check(self, hello: Hello) -> Verdict:
        """Say whether a proved connection can be served."""
        match hello.role:
            case Role.CONTROL:
                has_room = len(self.clients) < self._settings.connections
                return Verdict.ADMITTED if has_room else Verdict.BUSY
            case Role.FUNCTIONS:
                return Verdict.ADMITTED if self._program is not None else Verdict.NO_SUCH_SESSION
            case _:
                is_there = self.sessions is not None and self.sessions.has(hello.ticket)
                return Verdict.ADMITTED if is_there or self._rest_for(hello) >= 0 else Verdict.NO_SUCH_SESSION

    def _rest_for(self, hello: Hello) -> int:
        """Return the spool of a session that died while this client was away, -1 for none.

        One that was had back lives under the ticket of the former one, which may have left something too.
        """
        if self.sessions is None or hello.role is not Role.DATA or not hello.resume:
            return -1
        if self.sessions.has(hello.ticket):
            return -1
        return self.sessions.remains.spool_of(hello.ticket, hello.client)

    async def _admit(self, hello: Hello, sock: socket.socket) -> None:
        """Serve a proved connection, or hand it to the process that does."""
        if hello.role is Role.CONTROL:
            await connect_client(self, hello.client, sock, self._settings)
            return
        rest = self._rest_for(hello)
        if rest >= 0:
            sending = asyncio.create_task(send_rest(sock, open_spool(rest), hello.resume))
            self._sending.add(sending)
            sending.add_done_callback(self._sending.discard)
            return
        with sock:
            if hello.role is Role.FUNCTIONS:
                if self._program is not None:
                    self._program.try_send(
                        internal.Adopt(int(hello.role), hello.client, hello.resume), [sock.fileno()]
                    )
            elif self.sessions is not None:
                self.sessions.pass_socket(hello.ticket, hello.role, hello.client, hello.resume, sock.fileno())

    # ------------------------------------------------------------ its life

    def adopt(self, keepers: list[TakenKeeper]) -> None:
        """Go on with the sessions of an earlier supervisor of this server, and see to it that a later one can."""
        if self.sessions is None or not self._settings.orphan_seconds:
            return
        self.sessions.keepers.settle(identity(self.config, self.address.url), self.address.url)
        count = sum(map(self.sessions.adopt, keepers))
        if count:
            what = (
                "1 session of an earlier server goes"
                if count == 1
                else f"{count} sessions of an earlier server go"
            )
            log.info("%s on", what)

    async def serve(self) -> None:
        """Serve until told to end.

        Raises:
            OSError: what has to be written first cannot be; nothing is left.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._wind_down)
        self._watch_user(loop)
        if self._program is not None:
            loop.add_reader(self._program.fileno(), self._program_readable)
        try:
            if self.config.is_recorded:
                records.write(self._record)
            # Whoever reads this line finds everything in place: the record, and the listening socket.
            print(self.url, flush=True)  # noqa: T201 - the first line is the URL
        except OSError:
            self._listener.close()
            self._clean()
            raise
        if self.config.watch_pid:
            _leave_pipes()
        accepting = loop.create_task(self._admission.accept_from(self._listener))
        sweeping = loop.create_task(self._sweep())
        log.info("serving at %s as %s, token in %s", self.url, self.name, self._record.token_file or "-")
        try:
            await self._ended.wait()
        finally:
            for task in (accepting, sweeping):
                task.cancel()
            await asyncio.wait({accepting, sweeping})  # the listener is theirs until they have ended
            self._listener.close()
            self._clean()
            await self._end_sessions()

    def _watch_user(self, loop: asyncio.AbstractEventLoop) -> None:
        """An embedded server ends with its user's process, by whatever way that ended."""
        if not self.config.watch_pid:
            return
        try:
            watched = os.pidfd_open(self.config.watch_pid)
        except ProcessLookupError:
            self._end("its user is gone")
            return
        loop.add_reader(watched, self._end, "its user is gone")

    def _wind_down(self) -> None:
        """Told to end: calls that run get a stated time. Told again: at once."""
        if self._winding_down is not None:
            self._end(_TOLD)
            return
        log.info("no new sessions from now on; what runs gets %g s", self._settings.stop_seconds)
        self._winding_down = asyncio.create_task(self._finish())
        self._winding_down.add_done_callback(lambda _: self._end(_TOLD))

    async def _finish(self) -> None:
        program = asyncio.create_task(self._finish_program())
        if self.sessions is not None:
            await self.sessions.wind_down(self._settings.stop_seconds)
        await program
        if self.sessions is not None:
            await self.sessions.keep_all(_TOLD)

    async def _finish_program(self) -> None:
        """Give calls by name their time."""
        if self._program is not None:
            with contextlib.suppress(OSError, TimeoutError):
                if self._program.try_send(internal.Finish()):
                    await asyncio.wait_for(self._is_program_finished.wait(), self._settings.stop_seconds)

    def _end(self, reason: str) -> None:
        if self._ended.is_set():
            return
        log.info("ending: %s", reason)
        for client in list(self.clients):
            client.say_goodbye(reason)
        self._ended.set()

    async def _end_sessions(self) -> None:
        """Have the keeper end every worker, and wait for it."""
        if self.sessions is None:
            return
        keepers = self.sessions.keepers
        if self._winding_down is not None and not self._winding_down.done():  # told again
            self._winding_down.cancel()
            await self.sessions.interrupt_all()
        keepers.end_all()
        deadline = time.monotonic() + self._settings.end_seconds + 2.0
        while not keepers.are_gone() and time.monotonic() < deadline:  # noqa: ASYNC110 - only the kernel tells of it
            await asyncio.sleep(0.01)

    def _clean(self) -> None:
        if self.address.scheme == "unix":
            socket_place(self.address.path).unlink(missing_ok=True)
        if self.config.is_recorded:
            records.remove(self._record)

    def _keeper_gone(self) -> None:
        if not self._ended.is_set():
            log.error("no keeper process lives; no session can live without one")
            self._end("its keeper process has ended")

    def _program_readable(self) -> None:
        assert self._program is not None
        try:
            while received := self._program.receive():
                if isinstance(received[0], internal.Finished):
                    self._is_program_finished.set()
                elif isinstance(received[0], internal.Broken):
                    self.broken.note(received[0].role)
        except EOFError:
            asyncio.get_running_loop().remove_reader(self._program.fileno())
            self._end("the program that exposed functions has ended")

    async def _sweep(self) -> None:
        began, kept = time.monotonic(), keptsessions.sweep(self._settings.session_ttl)
        if self.sessions is None:
            return
        with contextlib.suppress(RpcMagicError):
            self._versions |= await asyncio.shield(self.sessions.keepers.newest.ready)
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, max(0.1, self._settings.session_ttl / 4)))
            self.sessions.sweep()
            for client in self.clients:
                client.look()
            for file in [file for file, seconds in kept.items() if time.monotonic() - began > seconds]:
                del kept[file]
                keptsessions.discard(file)


def _kept_identity(config: SupervisorConfig, address: Address) -> str:
    """Return under what sessions are kept; empty where no later server could be known to be the same one."""
    wanted = parse_address(config.url)
    is_found_again = config.name or wanted.scheme == "unix" or wanted.port
    return identity(config, address.url) if config.keep and not config.watch_pid and is_found_again else ""


def _name_of(address: Address) -> str:
    if address.scheme != "unix":
        return f"server-{address.port}"
    return "server-" + "".join(c if c.isalnum() else "-" for c in Path(address.path).stem)[:50]


def _url_for_clients(address: Address, tls: Identity | None) -> str:
    """Return the URL under which clients find a server that listens at `address`."""
    return reachable(address)._replace(fingerprint=tls.hash.hex()).url if tls is not None else address.url


def _leave_pipes() -> None:
    """Leave the pipes to the process that started an embedded server: it has read what it wanted to."""
    descriptor = os.open(os.devnull, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
