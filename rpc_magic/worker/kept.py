"""A worker as its keeper holds it: its descriptors, its output, its end."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import psutil

from rpc_magic.errors import ProtocolError
from rpc_magic.settings import ServerSettings
from rpc_magic.transport.packets import MAX_DESCRIPTORS, PacketSocket, close_all
from rpc_magic.wire import internal
from rpc_magic.worker.crashes import shorten
from rpc_magic.worker.lastwords import LastWords
from rpc_magic.worker.memory import MemoryLimit
from rpc_magic.worker.spool import make_file
from rpc_magic.worker.statuspage import StatusPage
from rpc_magic.worker.system import waiting_bytes
from rpc_magic.worker.template import Template

__all__ = ["KeptWorker", "WorkerEnds"]

_PIECE = 1 << 16
_ROUNDS = 16  # of killing what a worker left behind, while it forks on
_KILL_SECONDS = 1.0  # for it to end; what runs as another user, as by sudo, this one cannot kill


class WorkerEnds(NamedTuple):
    """How a worker ended: `cause` as "killed by SIGSEGV", and the end of what it wrote.

    `spool` is the descriptor of its spool file, which is the caller's from then on; -1 for none.
    """

    cause: str
    last_words: str
    spool: int = -1


class KeptWorker:
    """One worker process; made by `fork`.

    Attributes:
        ticket, pid: its session's ticket and its process id.
        link_fd: the supervisor's end of its link; the keeper keeps a copy, for a supervisor that comes later.
        page_fd: its status page.
        on_exit: called once, when it has ended and its descendants have been ended.
        known: gives the ids of all processes that the keeper has forked and that live.
        facts: what a supervisor that comes later has to know of the session.
        memory: its limit.
    """

    def __init__(
        self,
        request: internal.Fork,
        template: Template,
        settings: ServerSettings,
        selector: selectors.BaseSelector,
        pid: int,
        descriptors: tuple[int, int, int, int, int],
        own: PacketSocket,
        close_in_child: Callable[[], None],
    ) -> None:
        self._request, self._template, self._settings, self._selector = request, template, settings, selector
        self._close_in_child = close_in_child
        self.ticket, self.pid = request.ticket, pid
        self.link_fd, self.page_fd, self._spool, out, err = descriptors
        self.on_exit: Callable[[KeptWorker, WorkerEnds], None] = lambda *_: None
        self.known: Callable[[], set[int]] = set
        self.facts: internal.SessionFacts | None = None
        self._pipes = {out: 1, err: 2}
        self._own: PacketSocket | None = own
        self._page, self._printed = StatusPage(self.page_fd), LastWords(self.page_fd)
        self._engine: dict[int, int] = {}  # process ids, each with a descriptor that tells of its end
        self.memory = MemoryLimit(settings.memory, f"rpc_magic-{pid}")
        self.memory.add(pid)
        self._pending: deque[tuple[internal.Internal, list[int]]] = deque()  # with descriptors beside them
        self._pending_bytes = 0
        self._dropped = {1: 0, 2: 0}
        self._last_words = b""
        self._kill_at = float("inf")
        self._for_memory = ""
        self._pidfd = os.pidfd_open(pid)
        selector.register(self._pidfd, selectors.EVENT_READ, self._exited)
        for pipe in self._pipes:
            os.set_blocking(pipe, False)
            selector.register(pipe, selectors.EVENT_READ, self._pipe_readable)
        selector.register(own.fileno(), selectors.EVENT_READ, self._hear)

    @classmethod
    def fork(
        cls,
        request: internal.Fork,
        template: Template,
        settings: ServerSettings,
        selector: selectors.BaseSelector,
        close_in_child: Callable[[], None],
    ) -> KeptWorker:
        """Fork a worker off the template.

        Raises:
            OSError: no process or no descriptors left.
        """
        with contextlib.ExitStack() as undo:
            link, workers_link = (_owned(undo, s) for s in _packet_pair())
            own, workers_own = (_owned(undo, s) for s in _packet_pair())
            page = os.memfd_create("rpc_magic-status", os.MFD_CLOEXEC)
            undo.callback(os.close, page)
            os.ftruncate(page, internal.PAGE_SIZE + 2 * internal.WORDS_SIZE)
            spool = make_file(template.spool_file(request.ticket))
            undo.callback(close_all, [spool])
            out_read, out_write = os.pipe()
            undo.callback(close_all, [out_read, out_write])
            err_read, err_write = os.pipe()
            undo.callback(close_all, [err_read, err_write])
            pid = os.fork()
            if pid == 0:
                os.dup2(out_write, 1)
                os.dup2(err_write, 2)
                close_all([out_read, err_read, out_write, err_write, link, own])
                close_in_child()
                template.become_worker(request, workers_link, workers_own, page, spool)  # does not return
            undo.pop_all()
        close_all([out_write, err_write, workers_link, workers_own])
        descriptors = (link, page, spool, out_read, err_read)
        packets = PacketSocket.from_descriptor(own)
        return cls(request, template, settings, selector, pid, descriptors, packets, close_in_child)

    @property
    def is_ending(self) -> bool:
        """True once it has been told to end."""
        return self._kill_at != float("inf")

    @property
    def pids(self) -> set[int]:
        """The processes that were forked for this session."""
        return {self.pid, *self._engine}

    def end(self, *, now: bool = False) -> None:
        """Tell the worker to end; it is killed when it does not within a stated time, or at once with `now`."""
        self._kill_at = 0.0 if now else time.monotonic() + self._settings.end_seconds
        self._signal(signal.SIGKILL if now else signal.SIGTERM)

    def enforce_end(self) -> None:
        """Kill the worker when its time to end is over."""
        if self._kill_at < time.monotonic():
            self._signal(signal.SIGKILL)

    def look_at_memory(self) -> None:
        """Kill the worker when its session is over its limit."""
        if self.memory.is_watched and self.memory.look(self.pids):
            self._signal(signal.SIGKILL)

    def close(self) -> None:
        """Close every descriptor of the keeper's."""
        close_all(
            [self.link_fd, self.page_fd, self._spool, self._pidfd, *self._pipes, *self._engine.values()]
        )
        self._drop_pending()
        if self._own is not None:
            self._own.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    # ------------------------------------------------------------ its output

    def _pipe_readable(self) -> None:
        for pipe in list(self._pipes):
            self._drain(pipe)
        self._send_pending()

    def _drain(self, pipe: int) -> bool:
        """Read what waits in a pipe; False when there was nothing."""
        waiting = min(waiting_bytes(pipe), _PIECE)
        if waiting:
            # Said before it is read: at any moment the worker sees it in the pipe or in the counter.
            self._page.add_drained(waiting)
        try:
            data = os.read(pipe, waiting or 1)
        except BlockingIOError:
            return False
        if not data:
            self._selector.unregister(pipe)
            del self._pipes[pipe]
            os.close(pipe)
            return False
        fd = self._pipes[pipe]
        if fd == 2:
            self._last_words = (self._last_words + data)[-self._settings.last_words :]
        if self._pending_bytes + len(data) > self._settings.drained:
            self._dropped[fd] += len(data)
        elif self._own is not None:
            self._pending.append((internal.Drained(fd, data, self._dropped[fd]), []))
            self._pending_bytes += len(data)
            self._dropped[fd] = 0
        return True

    def _drain_present(self, pipe: int) -> None:
        """Read what is in a pipe now, and no more: a process may write to it for ever."""
        rounds = -(-waiting_bytes(pipe) // _PIECE)
        while rounds and pipe in self._pipes and self._drain(pipe):
            rounds -= 1

    def _send_pending(self) -> None:
        if self._own is None:
            return
        try:
            while self._pending and self._own.try_send(*self._pending[0]):
                sent, descriptors = self._pending.popleft()
                close_all(descriptors)
                if isinstance(sent, internal.Drained):
                    self._pending_bytes -= len(sent.data)
        except OSError:
            self._lose_own()
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._pending else 0)
        self._selector.modify(self._own.fileno(), events, self._hear)

    def _lose_own(self) -> None:
        if self._own is not None:
            self._selector.unregister(self._own.fileno())
            self._own.close()
            self._own = None
        self._drop_pending()

    def _drop_pending(self) -> None:
        for _, descriptors in self._pending:
            close_all(descriptors)
        self._pending.clear()
        self._pending_bytes = 0

    # ------------------------------------------------------------ what it asks

    def _hear(self) -> None:
        if self._own is None:
            return
        try:
            received = self._own.receive()
        except (EOFError, OSError, ProtocolError):
            self._lose_own()
            return
        if received is not None:
            message, descriptors = received
            close_all(descriptors)
            if isinstance(message, internal.SyncOutput):
                for pipe in list(self._pipes):
                    self._drain_present(pipe)
                self._pending.append((internal.Synced(message.number), []))
            elif isinstance(message, internal.ForkEngine):
                self._fork_engine(message.count)
        self._send_pending()

    def _fork_engine(self, count: int) -> None:
        """Fork the processes of the session's engine; their output is the session's."""
        ours: list[int] = []
        pids: list[int] = []
        for _ in range(min(count, MAX_DESCRIPTORS)):
            try:
                mine, theirs = socket.socketpair()
            except OSError:
                break  # fewer processes do the work too
            try:
                pid = os.fork()
            except OSError:
                mine.close()
                theirs.close()
                break
            if pid == 0:
                for fd in (1, 2):
                    with contextlib.suppress(OSError):
                        os.dup2(os.open(f"/proc/{self.pid}/fd/{fd}", os.O_WRONLY), fd)
                mine.close()
                close_all(ours)
                self._close_in_child()
                self._template.become_engine(self._request, theirs)  # does not return
            theirs.close()
            try:
                self._engine[pid] = ended = os.pidfd_open(pid)
            except OSError:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                mine.close()
                break
            self._selector.register(ended, selectors.EVENT_READ, partial(self._engine_ended, pid))
            self.memory.add(pid)
            ours.append(mine.detach())
            pids.append(pid)
        self._pending.append((internal.EngineForked(tuple(pids)), ours))

    def _engine_ended(self, pid: int) -> None:
        """A process of the engine has ended: leave no trace of it."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        descriptor = self._engine.pop(pid, None)
        if descriptor is not None:
            self._selector.unregister(descriptor)
            os.close(descriptor)

    # ------------------------------------------------------------ its end

    def _exited(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        self._for_memory = self.memory.explain()
        self.memory.close()
        self._kill_rest()
        for pipe in list(self._pipes):
            self._drain_present(pipe)
        for pid in list(self._engine):
            self._engine_ended(pid)
        for pipe in self._pipes:
            self._selector.unregister(pipe)
        self._selector.unregister(self._pidfd)
        spool = self._last_spool()
        self._lose_own()
        self.close()
        self._pipes.clear()
        shutil.rmtree(self._template.modules_folder(self.ticket), ignore_errors=True)
        words = shorten((self._printed.read() + self._last_words).decode(errors="replace").strip())
        self.on_exit(
            self, WorkerEnds("it was ended" if self.is_ending else self._cause(status), words, spool)
        )

    def _last_spool(self) -> int:
        """Return the spool of a worker that has died by itself, when there is something in it; else -1."""
        if self.is_ending or self._spool < 0 or not os.fstat(self._spool).st_size:
            return -1
        spool, self._spool = self._spool, -1
        return spool

    def _cause(self, status: int) -> str:
        was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        return (was_killed and self._for_memory) or _cause(status)

    def _kill_rest(self) -> None:
        """End the engine's processes and every descendant that the worker left behind.

        Each worker adopts its own orphans, so what becomes the keeper's child without being known to it has lost
        its worker just now.
        """
        for pid in self._engine:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        known = self.known() - self.pids
        for _ in range(_ROUNDS):
            rest = [p for p in psutil.Process().children() if p.pid not in known]
            for process in rest:
                family = [process]
                with contextlib.suppress(psutil.Error):
                    family += process.children(recursive=True)
                for member in family:
                    with contextlib.suppress(psutil.Error):
                        member.kill()
            if not rest:
                break
            _, living = psutil.wait_procs(rest, _KILL_SECONDS)
            known.update(process.pid for process in living)


def _cause(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(number).name}"
        return f"killed by signal {number}"
    return f"its process exited with status {os.waitstatus_to_exitcode(status)}"


def _packet_pair() -> tuple[int, int]:
    one, other = PacketSocket.pair()
    return one.detach(), other.detach()


def _owned(undo: contextlib.ExitStack, descriptor: int) -> int:
    undo.callback(close_all, [descriptor])
    return descriptor
