"""The keeper: the template that workers are forked from, and their parent.

``python -m rpc_magic.worker.keeper DESCRIPTOR CONFIG``. One thread, no user code. It drains the workers' file
descriptors 1 and 2, so that no worker blocks on its own pipe and its last words survive it; it learns how each
worker ended, and ends all that a worker left behind. Without a supervisor it goes on for a stated time, and waits at
its station for one that comes later: that one is told of the workers that live and of those that have ended.
"""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
import traceback
from collections.abc import Callable

import msgspec

from rpc_magic.errors import ProtocolError
from rpc_magic.runtime.launch import SupervisorConfig
from rpc_magic.settings import ServerSettings
from rpc_magic.transport.packets import PacketSocket, close_all
from rpc_magic.wire import internal
from rpc_magic.worker.kept import KeptWorker, WorkerEnds
from rpc_magic.worker.memory import LOOK_SECONDS
from rpc_magic.worker.station import Station, leave_pipes
from rpc_magic.worker.system import become_subreaper
from rpc_magic.worker.template import Template

__all__ = ["Keeper", "main"]

_REMEMBERED = 256
"""Workers that have ended, and of which a supervisor that comes later is told how: their clients may not know yet.
Those that have left something are not counted."""


class Keeper:
    """The keeper's loop.

    Args:
        supervisor: the packet socket to it.
        template: what workers are forked from.
        settings: limits and times.
        watch_pid: the process that this server ends with; 0 for none.
    """

    def __init__(
        self, supervisor: PacketSocket, template: Template, settings: ServerSettings, watch_pid: int
    ) -> None:
        self._supervisor: PacketSocket | None = supervisor
        self._template, self._settings = template, settings
        self._workers: dict[bytes, KeptWorker] = {}
        self._selector = selectors.DefaultSelector()
        self._deadline = float("inf")  # of a life without supervisor
        self._is_ending = False
        self._station: Station | None = None
        self._deaths: list[internal.Exited] = []
        self._spools: dict[bytes, int] = {}  # of those, the descriptors of what they have left
        self._watch(supervisor.fileno(), self._hear_supervisor)
        if watch_pid:
            try:
                self._watch(os.pidfd_open(watch_pid), self.end_all)
            except ProcessLookupError:
                self.end_all()

    def run(self) -> None:
        """Run until told to end, or alone for too long."""
        while not (self._is_ending and not self._workers):
            wait = self._deadline - time.monotonic()
            if wait <= 0:
                self.end_all()
                wait = 0.1
            for worker in list(self._workers.values()):
                worker.enforce_end()
                worker.look_at_memory()
            if any(worker.memory.is_watched for worker in self._workers.values()):
                wait = min(wait, LOOK_SECONDS)
            is_waiting = any(worker.is_ending for worker in self._workers.values())
            for key, _ in self._selector.select(0.05 if is_waiting else min(wait, 3600.0)):
                key.data()
        if self._station is not None:
            self._station.remove()

    def greet(self) -> None:
        """Say that the template is loaded."""
        self._say(internal.KeeperReady(self._template.versions))

    def end_all(self) -> None:
        """End all workers, then the loop."""
        self._is_ending = True
        for worker in self._workers.values():
            worker.end(now=True)

    # ------------------------------------------------------------ the supervisor

    def _watch(self, descriptor: int, action: Callable[[], None]) -> None:
        self._selector.register(descriptor, selectors.EVENT_READ, action)

    def _say(self, message: internal.Internal, descriptors: tuple[int, ...] = ()) -> None:
        if self._supervisor is not None:
            try:
                self._supervisor.send(message, descriptors)
            except OSError:
                self._lose_supervisor()

    def _hear_supervisor(self) -> None:
        if self._supervisor is None:  # it was lost by telling it what came at the same time
            return
        try:
            received = self._supervisor.receive()
        except EOFError:
            self._lose_supervisor()
            return
        except ProtocolError:  # a newer supervisor's, after an upgrade
            return
        if received is None:
            return
        message, descriptors = received
        close_all(descriptors)
        match message:
            case internal.Fork():
                self._fork(message)
            case internal.EndWorker(ticket):
                if ticket in self._workers:
                    self._workers[ticket].end()
            case internal.EndAll():
                self.end_all()
            case internal.Settle(path, url):
                self._settle(path, url)
            case internal.Remember(ticket, facts):
                if ticket in self._workers:
                    self._workers[ticket].facts = facts
            case internal.Forget(ticket):
                self._forget(ticket)

    def _settle(self, path: str, url: str) -> None:
        """Wait at `path` for a supervisor that comes later."""
        if self._station is not None and self._station.path == path:
            self._station.url = url
            return
        try:
            self._station = Station(path, url)
        except OSError as error:
            print(  # noqa: T201 - it goes where the server's log goes
                f"rpc_magic: the sessions of this server will end with it: {path}: {error.strerror}",
                file=sys.stderr,
            )
            return
        self._watch(self._station.fileno(), self._meet)

    def _meet(self) -> None:
        """Somebody has come to the station: a new supervisor, when the earlier one is gone."""
        newcomer = self._station.accept() if self._station is not None else None
        if newcomer is None:
            return
        while self._supervisor is not None and self._supervisor.wait(0):
            self._hear_supervisor()
        if self._supervisor is not None or self._is_ending:
            newcomer.close()
            return
        self._supervisor, self._deadline = newcomer, float("inf")
        self._watch(newcomer.fileno(), self._hear_supervisor)
        self.greet()
        for worker in self._workers.values():
            living = internal.Living(worker.ticket, worker.pid, worker.facts)
            self._say(living, (worker.link_fd, worker.page_fd))
        for death in self._deaths:
            self._say(death, self._spools_of(death.ticket))
        assert self._station is not None
        self._say(internal.Adopted(os.getpid(), self._station.url))

    def _lose_supervisor(self) -> None:
        if self._supervisor is None:
            return
        self._selector.unregister(self._supervisor.fileno())
        self._supervisor.close()
        self._supervisor = None
        leave_pipes()
        if not self._workers and not self._deaths:
            self._is_ending = True
        self._deadline = time.monotonic() + self._settings.orphan_seconds

    # ------------------------------------------------------------ workers

    def _fork(self, request: internal.Fork) -> None:
        try:
            worker = KeptWorker.fork(
                request, self._template, self._settings, self._selector, self._close_in_child
            )
        except OSError as error:
            self._say(internal.ForkFailed(request.ticket, f"no process could be made: {error.strerror}"))
            return
        worker.on_exit, worker.known = self._worker_exited, self._known
        self._workers[request.ticket] = worker
        self._say(internal.Forked(request.ticket, worker.pid), (worker.link_fd, worker.page_fd))

    def _known(self) -> set[int]:
        return set().union(*(worker.pids for worker in self._workers.values()))

    def _worker_exited(self, worker: KeptWorker, ends: WorkerEnds) -> None:
        del self._workers[worker.ticket]
        exited = internal.Exited(worker.ticket, worker.pid, ends.cause, ends.last_words, worker.facts)
        if ends.spool >= 0:
            self._spools[worker.ticket] = ends.spool
        self._deaths.append(exited)
        spare = [death for death in self._deaths if death.ticket not in self._spools]
        if len(spare) > _REMEMBERED:
            self._deaths.remove(spare[0])
        self._say(exited, self._spools_of(worker.ticket))

    def _spools_of(self, ticket: bytes) -> tuple[int, ...]:
        return (self._spools[ticket],) if ticket in self._spools else ()

    def _forget(self, ticket: bytes) -> None:
        """Let go of what a worker has left."""
        spool = self._spools.pop(ticket, None)
        if spool is not None:
            os.close(spool)

    def _close_in_child(self) -> None:
        """In a fresh child: let go of everything that is the keeper's."""
        self._selector.close()
        if self._station is not None:
            self._station.close()
        if self._supervisor is not None:
            self._supervisor.close()
        for worker in self._workers.values():
            worker.close()
        close_all(list(self._spools.values()))


def main() -> int:
    """Run a keeper; return its exit status."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C in the server's terminal is the supervisor's business
    os.setsid()
    become_subreaper()
    supervisor = PacketSocket.from_descriptor(int(sys.argv[1]))
    os.set_inheritable(supervisor.fileno(), False)
    config = msgspec.json.decode(sys.argv[2], type=SupervisorConfig)
    template = Template.load()
    settings = ServerSettings(orphan_seconds=config.orphan_seconds, memory=config.memory_limit)
    keeper = Keeper(supervisor, template, settings, config.watch_pid)
    keeper.greet()
    keeper.run()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:  # noqa: BLE001 - the last thing a dying keeper can do is to say why
        traceback.print_exc()
        sys.exit(1)
