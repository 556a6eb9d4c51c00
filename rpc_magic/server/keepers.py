"""The server's keepers: the one that new sessions are forked by, and older ones that still have some.

A keeper's template holds packages as they were when it was loaded. When packages were installed or removed since, as
by ``%rpc_pip``, the next session gets a fresh keeper; the older one ends with its last session. So do the keepers of
an earlier supervisor of this server, which this one has taken over. A keeper that was killed takes its sessions with
it; new ones get another, and those of other keepers go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import site
import socket
import sysconfig
from collections.abc import Callable
from pathlib import Path

from rpc_magic.errors import RpcMagicError
from rpc_magic.runtime.processes import start_time
from rpc_magic.server.adoption import TakenKeeper, station
from rpc_magic.server.keeperlink import KeeperLink
from rpc_magic.transport.packets import PacketSocket
from rpc_magic.wire import internal

__all__ = ["Keepers", "installed_packages"]

log = logging.getLogger("rpc_magic.server")

_REAP_SECONDS = 1.0
"""Between a keeper's last word and the look at how it ended."""

_RECORDS = (".dist-info", ".egg-info", ".egg-link", ".pth")

Start = Callable[[], tuple[int, socket.socket]]
"""Starts a keeper's process; returns its id and a packet socket to it."""


def installed_packages() -> frozenset[str]:
    """Return the records of the packages that are installed for this Python: they change when a package does."""
    folders = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    if site.ENABLE_USER_SITE:
        folders.add(site.getusersitepackages())
    found: set[str] = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            found.update(str(entry) for entry in Path(folder).iterdir() if entry.name.endswith(_RECORDS))
    return frozenset(found)


class Keepers:
    """See the module's text; belongs to the running event loop.

    Args:
        first: the keeper that was started with the server.
        start: starts another one.
        on_exit: called when a worker has ended; see `KeeperLink`.
        on_gone: called when there is no keeper for new sessions any more, and another one would not live either.

    Attributes:
        newest: the keeper of new sessions.
    """

    def __init__(
        self,
        first: tuple[int, socket.socket],
        start: Start,
        on_exit: Callable[[internal.Exited, int], None],
        on_gone: Callable[[], None],
    ) -> None:
        self._start, self._on_exit, self._on_gone = start, on_exit, on_gone
        self._packages = installed_packages()
        self._lock = asyncio.Lock()
        self._renewing: asyncio.Task[None] | None = None
        self._is_ending = False
        self._links: set[KeeperLink] = set()
        self._pids: set[int] = set()
        self._identity = self._url = ""
        self.newest = self._start_talking(*first)

    async def current(self) -> KeeperLink:
        """Return a keeper whose packages are those that are installed now."""
        packages = installed_packages()
        if packages != self._packages:
            self._packages = packages
            self._renewing = asyncio.get_running_loop().create_task(self._renew())
        if self._renewing is not None:
            await asyncio.shield(self._renewing)  # the client that asked may go, the next one needs it
        return self.newest

    async def _renew(self) -> None:
        async with self._lock:
            await self._start_fresh()

    async def _start_fresh(self) -> None:
        log.info("packages were installed or removed: new sessions get a fresh keeper")
        try:
            fresh = self._start_talking(*self._start())
            await asyncio.shield(fresh.ready)
        except (OSError, RpcMagicError):
            log.exception("a fresh keeper could not be started, the older one goes on")
            return
        older, self.newest = self.newest, fresh
        self.let_go(older)

    def settle(self, identity: str, url: str) -> None:
        """Have all keepers wait for a supervisor that comes after this one; see `rpc_magic.server.adoption`."""
        self._identity, self._url = identity, url
        for link in self._links:
            link.settle(station(identity, link.pid), url)

    def adopt(self, taken: TakenKeeper) -> KeeperLink:
        """Go on with a keeper that was taken over."""
        link = self._add(taken.pid, taken.packets)
        link.ready.set_result(taken.versions)
        return link

    def _start_talking(self, pid: int, sock: socket.socket) -> KeeperLink:
        return self._add(pid, PacketSocket(sock))

    def _add(self, pid: int, packets: PacketSocket) -> KeeperLink:
        link: KeeperLink = KeeperLink(
            packets, pid, lambda message, left: self._exited(link, message, left), lambda: self._gone(link)
        )
        self._links.add(link)
        self._pids.add(pid)
        if self._identity:
            link.settle(station(self._identity, pid), self._url)
        return link

    def _exited(self, link: KeeperLink, message: internal.Exited, left: int) -> None:
        self._on_exit(message, left)
        self.let_go(link)

    def let_go(self, link: KeeperLink) -> None:
        """End an older keeper that has no session any more."""
        if link is not self.newest and not link.has_workers:
            link.end_all()

    def _gone(self, link: KeeperLink) -> None:
        self._links.discard(link)
        link.close()
        asyncio.get_running_loop().call_later(_REAP_SECONDS, self.are_gone)
        if link is self.newest:
            self._replace(link)

    def _replace(self, gone: KeeperLink) -> None:
        """New sessions need a keeper; when this one has never been well, another one would not be either."""
        if not self._is_ending and gone.ready.exception() is None:
            log.error("a keeper has ended, and its sessions with it: new ones get a fresh keeper")
            with contextlib.suppress(OSError):
                self.newest = self._start_talking(*self._start())
                return
        self._on_gone()

    def end_all(self) -> None:
        """Have all workers and keepers ended."""
        self._is_ending = True
        for link in self._links:
            link.end_all()

    def are_gone(self) -> bool:
        """Tell whether all keepers have ended; none of them leaves a zombie."""
        for pid in list(self._pids):
            try:
                is_gone = os.waitpid(pid, os.WNOHANG)[0] != 0
            except ChildProcessError:
                is_gone = not start_time(pid)  # one that was taken over is another process's child
            if is_gone:
                self._pids.discard(pid)
        return not self._pids
