"""A fresh keeper when packages have changed; the older one ends with its last session."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

import pytest

from rpc_magic.errors import RpcMagicError
from rpc_magic.server import keepers as module
from rpc_magic.server.keepers import Keepers, installed_packages
from rpc_magic.server.keeping import Keeping
from rpc_magic.server.session import SessionError
from rpc_magic.server.sessions import SessionTable
from rpc_magic.settings import ServerSettings
from rpc_magic.transport.packets import PacketSocket
from rpc_magic.wire import control, internal
from rpc_magic.wire.handshake import Role

SECONDS = 30 * float(os.environ.get("RPC_MAGIC_TEST_TIME_FACTOR", "1"))


class Made:
    """A keeper as its process would answer; the process itself only waits."""

    def __init__(self, *, is_well: bool = True, is_ready: bool = True) -> None:
        self.process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.packets, self.sock = PacketSocket(mine), theirs
        if not is_well:
            self.end()
        elif is_ready:
            self.packets.send(internal.KeeperReady({}))

    def forked(self, ticket: bytes) -> socket.socket:
        """Say that a worker was made; return its end of the link."""
        link, workers_link = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        page = os.memfd_create("page")
        os.ftruncate(page, internal.PAGE_SIZE)
        with link:
            self.packets.send(internal.Forked(ticket, 1), [link.fileno(), page])
        os.close(page)
        return workers_link

    def heard(self) -> list[str]:
        names = []
        while received := self.packets.receive():
            names.append(type(received[0]).__name__)
        return names

    def end(self) -> None:
        self.packets.close()
        self.process.communicate(b"\n")


INFO = control.ClientInfo(pid=1, host="h", user="u", python="3.11", process=b"p")
TRAIN = control.Attach("train", take=False, client=INFO)


def table_of(made: Made) -> SessionTable:
    """A server's sessions, which this keeper makes."""
    return SessionTable(
        ServerSettings(),
        lambda table: Keepers(
            (made.process.pid, made.sock), lambda: (0, made.sock), table.worker_exited, lambda: None
        ),
        Keeping("", ServerSettings()),
    )


class Client:
    """The connection of one, as a session knows it."""

    title, heard, is_silent = "a client", float("inf"), False

    def __init__(self, process: bytes) -> None:
        self.client_id = self.process = process

    def say(self, message: control.Control) -> None:
        """Hear it."""


@pytest.fixture
def packages(monkeypatch):
    """What is installed, as the tests say."""
    state = {frozenset({"a.dist-info"})}
    monkeypatch.setattr(module, "installed_packages", lambda: next(iter(state)))
    return state


def test_records_of_packages_are_found():
    """They change when a package is installed, removed or replaced."""
    assert any("msgspec" in path for path in installed_packages())


async def until(condition) -> None:
    deadline = asyncio.get_running_loop().time() + SECONDS
    while not condition():
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.001)


async def finish(keepers: Keepers, *made: Made) -> None:
    """End them all; nothing is left then."""
    keepers.end_all()
    for one in made:
        one.end()
    await until(lambda: keepers.are_gone() and not keepers._links)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("has_worker", [False, True])
def test_a_fresh_keeper(packages, has_worker):
    """It is there for the next session; the older one goes on as long as it has a worker."""

    async def run() -> None:
        made = [Made()]
        gone: list[bool] = []
        exits: list[internal.Exited] = []

        def start():
            made.append(Made())
            return made[-1].process.pid, made[-1].sock

        keepers = Keepers(
            (made[0].process.pid, made[0].sock),
            start,
            lambda one, _: exits.append(one),
            lambda: gone.append(True),
        )
        first = await keepers.current()
        assert await keepers.current() is first
        await first.ready
        if has_worker:
            first._living.add(b"ticket")
        packages.clear()
        packages.add(frozenset({"b.dist-info"}))
        second = await keepers.current()
        assert second is not first
        assert await keepers.current() is second
        assert made[0].heard() == ([] if has_worker else ["EndAll"])
        if has_worker:
            made[0].packets.send(internal.Exited(b"ticket", 1, "it was ended", ""))
            await until(lambda: exits)
            await settle()
            assert made[0].heard() == ["EndAll"]
        made[0].end()
        await settle()
        assert gone == []
        keepers.end_all()
        assert made[1].heard() == ["EndAll"]
        made[1].end()
        await until(lambda: gone and keepers.are_gone())

    asyncio.run(run())


def test_a_client_that_goes_while_a_fresh_keeper_starts(packages):
    """The next client's session gets that keeper."""

    async def run() -> None:
        made = [Made()]

        def start():
            made.append(Made(is_ready=False))
            return made[-1].process.pid, made[-1].sock

        keepers = Keepers((made[0].process.pid, made[0].sock), start, lambda *_: None, lambda: None)
        first = await keepers.current()
        packages.clear()
        packages.add(frozenset())
        asking = asyncio.create_task(keepers.current())
        await until(lambda: len(made) == 2)
        asking.cancel()
        await settle()
        made[1].packets.send(internal.KeeperReady({}))
        assert await keepers.current() is not first
        await finish(keepers, *made)

    asyncio.run(run())


def test_a_keeper_that_is_killed(packages):
    """Its workers are told of as ended; the next session gets another keeper, unless that never lives."""

    async def run() -> None:
        made = [Made(), Made(), Made(is_well=False)]
        left, gone, exits = made[1:], [], []

        def start():
            one = left.pop(0)
            return one.process.pid, one.sock

        keepers = Keepers(
            (made[0].process.pid, made[0].sock),
            start,
            lambda one, _: exits.append(one),
            lambda: gone.append(True),
        )
        first = await keepers.current()
        await first.ready
        first._living.add(b"ticket")
        made[0].end()
        await until(lambda: keepers.newest is not first)
        assert [(one.ticket, one.cause) for one in exits] == [(b"ticket", "its keeper process has ended")]
        assert not gone
        await keepers.newest.ready
        made[1].end()
        await until(lambda: gone)
        assert not left
        await until(lambda: keepers.are_gone() and not keepers._links)

    asyncio.run(run())


def test_a_keeper_that_cannot_start(packages):
    """The older one goes on: a broken package must not end the server."""

    async def run() -> None:
        first = Made()

        def start():
            broken = Made(is_well=False)
            return broken.process.pid, broken.sock

        keepers = Keepers((first.process.pid, first.sock), start, lambda *_: None, lambda: None)
        link = await keepers.current()
        packages.clear()
        packages.add(frozenset())
        assert await keepers.current() is link
        first.end()
        with pytest.raises(RpcMagicError):
            await link.fork(internal.Fork(b"t", "s", "/", (), {}, 1))
        await until(keepers.are_gone)

    asyncio.run(run())


@pytest.mark.parametrize("goes", ["before it is ready", "before the answer", "with the answer"])
def test_a_client_that_goes_while_its_session_is_made(goes):
    """The session ends, whatever had been done for it; its name is free again."""

    async def run() -> None:
        made = Made(is_ready=goes != "before it is ready")
        table = table_of(made)
        link = table.keepers.newest
        asking = asyncio.create_task(table.attach(TRAIN, None, "/"))
        await settle()
        if goes == "before it is ready":
            assert made.heard() == []
            asking.cancel()
            await settle()
            made.packets.send(internal.KeeperReady({}))
            await until(link.ready.done)
            assert made.heard() == []
        else:
            await until(link.ready.done)
            await settle()
            ticket = next(iter(link._waiting))
            assert made.heard() == ["Fork"]
            if goes == "before the answer":
                asking.cancel()
                await settle()
            made.forked(ticket).close()
            link._readable()
            asking.cancel()
            await settle()
            assert made.heard() == ["EndWorker"]
            assert link.has_workers
            made.packets.send(internal.Exited(ticket, 1, "it was ended", ""))
            await until(lambda: not link.has_workers)
        assert asking.cancelled()
        assert table.listing() == ()
        assert not link.has_workers
        await finish(table.keepers, made)

    asyncio.run(run())


def test_a_keeper_that_is_killed_while_a_fresh_one_starts(packages):
    """The one that has taken its place meanwhile ends when the fresh one is there."""

    async def run() -> None:
        made = [Made()]

        def start():
            made.append(Made(is_ready=len(made) != 1))
            return made[-1].process.pid, made[-1].sock

        keepers = Keepers((made[0].process.pid, made[0].sock), start, lambda *_: None, lambda: None)
        first = await keepers.current()
        await first.ready
        packages.clear()
        packages.add(frozenset())
        asking = asyncio.create_task(keepers.current())
        await until(lambda: len(made) == 2)
        made[0].end()
        await until(lambda: len(made) == 3)
        await keepers.newest.ready
        made[1].packets.send(internal.KeeperReady({}))
        assert await asking is keepers.newest
        assert made[2].heard() == ["EndAll"]
        assert made[1].heard() == []
        await finish(keepers, *made[1:])

    asyncio.run(run())


def test_a_worker_is_ended_whose_keeper_has_just_been_killed():
    """Before that is known: nothing fails, and the worker is told of as ended."""

    async def run() -> None:
        made, exits = Made(), []
        keepers = Keepers(
            (made.process.pid, made.sock),
            lambda: (0, made.sock),
            lambda one, _: exits.append(one),
            lambda: None,
        )
        await keepers.newest.ready
        keepers.newest._living.add(b"ticket")
        keepers.end_all()
        made.end()
        keepers.newest.end(b"ticket")
        await until(lambda: exits and keepers.are_gone() and not keepers._links)

    asyncio.run(run())


def test_a_worker_that_dies_as_soon_as_it_is_made():
    """The client is told so, and does not get a session that is none; the name is free again."""

    async def run() -> None:
        made = Made()
        table = table_of(made)
        link = table.keepers.newest
        asking = asyncio.create_task(table.attach(TRAIN, Client(b"p"), "/"))
        await until(lambda: link._waiting)
        await settle()
        ticket = next(iter(link._waiting))
        made.forked(ticket).close()
        made.packets.send(internal.Exited(ticket, 1, "killed by SIGKILL", ""))
        link._readable()  # it comes to both at once, as a busy server does
        with pytest.raises(SessionError, match="ended as soon as it was made: killed by SIGKILL"):
            await asking
        assert table.listing() == ()
        await finish(table.keepers, made)

    asyncio.run(run())


def test_a_name_that_is_taken_while_its_session_is_restarted():
    """Two clients never have two sessions of one name: who comes second is told that it is in use."""

    async def run() -> None:
        made = Made()
        table = table_of(made)
        link = table.keepers.newest

        async def answer() -> None:
            await until(lambda: link._waiting)
            await settle()
            made.forked(next(iter(link._waiting))).close()

        async def take() -> None:
            await session.ended.wait()
            await table.attach(TRAIN, Client(b"q"), "/")

        attaching = asyncio.create_task(table.attach(TRAIN, Client(b"p"), "/"))
        await answer()
        session, _ = await attaching
        taking = asyncio.create_task(take())
        await settle()
        restarting = asyncio.create_task(table.restart(session, INFO, Client(b"p"), "/"))
        await until(lambda: session.state == "ending")
        made.packets.send(internal.Exited(session.ticket, 1, "it was ended", ""))
        with pytest.raises(SessionError, match="is starting"):
            await restarting
        await answer()
        await taking
        assert [one.name for one in table.listing()] == ["train"]
        await finish(table.keepers, made)

    asyncio.run(run())


def test_a_worker_that_takes_nothing(tmp_path):
    """Nobody waits for one that is stopped, or deep in C code: connections for it are closed when too many wait."""

    async def run() -> None:
        made = Made()
        table = table_of(made)
        link = table.keepers.newest
        attaching = asyncio.create_task(table.attach(TRAIN, Client(b"p"), "/"))
        await until(lambda: link._waiting)
        await settle()
        stopped = made.forked(next(iter(link._waiting)))
        session, _ = await attaching
        is_taken = True
        while is_taken:
            is_taken = table.pass_socket(session.ticket, Role.DATA, b"c" * 16, 1, made.process.stdin.fileno())
        session.worker.miss(b"c" * 16)
        keeping = Keeping("", ServerSettings())
        kept = await keeping._ask(session, tmp_path / "file", 0.0, asyncio.Event())
        assert kept.reason == "its process takes nothing in"
        stopped.close()
        await finish(table.keepers, made)

    asyncio.run(run())
