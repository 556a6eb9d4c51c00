"""The local engine: processes on the server's machine, one for each processor."""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
from collections import deque
from collections.abc import Callable, Sequence

from rpc_magic.engines.base import Done, Task
from rpc_magic.errors import ProtocolError
from rpc_magic.runtime.processes import interrupt_group
from rpc_magic.transport import FrameSocket
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer, Frame

__all__ = ["LocalEngine", "Make", "Resolve"]

Make = Callable[[int], list[tuple[int, socket.socket]]]
"""Takes how many processes to make; returns their ids and a stream socket to each."""
Resolve = Callable[[str, str], tuple[messages.Outcome, Sequence[Buffer]]]
"""Takes (session, key) of a value that a task's argument stands for; returns it as an answer."""


class _Process:
    """One process of the engine."""

    def __init__(self, pid: int, sock: socket.socket) -> None:
        self.pid = pid
        self.channel = FrameSocket(sock)
        self.knows: set[bytes] = set()
        self.task: Task | None = None
        self.is_old = False

    def say(self, call: int, message: messages.Message, buffers: Sequence[Buffer] = ()) -> None:
        if not self.channel.send(call, messages.encode(message), buffers):
            self.channel.flush_all()


class LocalEngine:
    """See `rpc_magic.engines.base.Engine`. One thread calls it; its processes' sockets are in `selector`.

    Args:
        make: makes processes.
        resolve: fetches the values that arguments stand for.
        done: is told of outcomes.
        selector: the caller's; an event's ``data`` is a callable of this engine's.
        size: number of processes; None takes the processors this process may use.
    """

    def __init__(
        self,
        make: Make,
        resolve: Resolve,
        done: Done,
        selector: selectors.BaseSelector,
        size: int | None = None,
    ) -> None:
        self._make, self._resolve, self._done, self._selector = make, resolve, done, selector
        self._size = size or len(os.sched_getaffinity(0))
        self._definitions: dict[bytes, list[Buffer]] = {}
        self._queue: deque[Task] = deque()
        self._processes: list[_Process] = []

    def define(self, digest: bytes, buffers: Sequence[Buffer]) -> None:
        """Take note of a function that tasks will name."""
        self._definitions[digest] = list(buffers)

    def submit(self, task: Task) -> None:
        """Run a task when there is room."""
        if task.digest not in self._definitions:
            self._done(task.number, messages.NeedFunction(task.digest), ())
            return
        self._queue.append(task)
        if not self._processes:
            self._grow(self._size)
        self._dispatch()

    @property
    def waiting(self) -> int:
        """Number of tasks that have not begun."""
        return len(self._queue)

    @property
    def unfinished(self) -> int:
        """Number of tasks that have not ended."""
        return len(self._queue) + sum(process.task is not None for process in self._processes)

    def cancel(self, number: int) -> None:
        """Forget a task that has not begun; interrupt one that runs."""
        for task in self._queue:
            if task.number == number:
                self._queue.remove(task)
                self._done(number, _failed("interrupt", "KeyboardInterrupt", "cancelled before it began"), ())
                return
        for process in self._processes:
            if process.task is not None and process.task.number == number:
                # The message is for a process that has not yet begun with the task and ignores the signal.
                with contextlib.suppress(OSError):
                    process.say(number, messages.CancelCall(number))
                    interrupt_group(process.pid)
                return

    def renew(self) -> None:
        """Put fresh processes in the place of all, of those that run a task when it has ended."""
        for process in list(self._processes):
            process.is_old = True
            self._replace_old(process)

    def _replace_old(self, process: _Process) -> None:
        if process.is_old and process.task is None:
            self._processes.remove(process)
            self._let_go(process)
            self._grow(1)

    def close(self) -> None:
        """End every process."""
        self._queue.clear()
        for process in self._processes:
            self._let_go(process)
        self._processes.clear()

    # ------------------------------------------------------------ inside

    def _grow(self, count: int) -> None:
        for pid, sock in self._make(count):
            process = _Process(pid, sock)
            self._processes.append(process)
            self._selector.register(
                process.channel.fileno(), selectors.EVENT_READ, lambda process=process: self._hear(process)
            )

    def _let_go(self, process: _Process) -> None:
        self._selector.unregister(process.channel.fileno())
        process.channel.close()
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)

    def _dispatch(self) -> None:
        if not self._processes:
            while self._queue:
                text = "the server's machine gives no process for the engine"
                failed = _failed("error", "rpc_magic.errors.RemoteError", text)
                self._done(self._queue.popleft().number, failed, ())
        for process in list(self._processes):
            if not self._queue:
                return
            if process.task is None:
                self._give(process, self._queue.popleft())

    def _give(self, process: _Process, task: Task) -> None:
        process.task = task
        try:
            if task.digest not in process.knows:
                process.say(0, messages.DefineFunction(task.digest), self._definitions[task.digest])
                process.knows.add(task.digest)
            process.say(task.number, messages.MapTask(task.digest, task.plain_results), task.buffers)
        except OSError:
            self._lose(process)

    def _hear(self, process: _Process) -> None:
        if process not in self._processes:
            return  # it was let go of in the moment in which this came
        try:
            for frame in process.channel.read():
                self._answer(process, frame)
        except (EOFError, OSError, ProtocolError):
            self._lose(process)

    def _answer(self, process: _Process, frame: Frame) -> None:
        message = messages.decode_from_engine(frame.message)
        if isinstance(message, messages.Fetch):
            process.say(frame.call, *self._resolve(message.session, message.key))
            return
        process.task = None
        self._done(frame.call, message, frame.buffers)
        self._replace_old(process)
        self._dispatch()

    def _lose(self, process: _Process) -> None:
        """A process has died: its task ends, and another process takes its place."""
        self._processes.remove(process)
        self._let_go(process)
        if process.task is not None:
            text = f"the engine's process {process.pid} died while it ran this task"
            self._done(process.task.number, _failed("error", "rpc_magic.errors.RemoteError", text), ())
        self._grow(1)
        self._dispatch()


def _failed(kind: str, type_name: str, text: str) -> messages.Failed:
    return messages.Failed(messages.ErrorRecord(kind, type_name, text, ""))
