"""Calls by name in a program that exposes functions: taken in by an I/O thread, run where the program says.

With one thread they run on the thread that called `Calls.run`. When that is the main one, SIGINT has two meanings
there: a client's cancel, which interrupts its own call and no other, and Ctrl-C in the program's terminal, which
ends the program once an answer that is being sent has been sent.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import signal
import socket
import threading
from types import FrameType

from rpc_magic.settings import WorkerSettings
from rpc_magic.transport import PacketSocket
from rpc_magic.transport.iothread import IoThread
from rpc_magic.transport.packets import close_all
from rpc_magic.wire import internal, messages
from rpc_magic.wire.handshake import Role
from rpc_magic.worker.callers import Caller, Callers
from rpc_magic.worker.exposed import Exposed, failure

__all__ = ["Calls"]


class _CancelledCall(KeyboardInterrupt):
    """A client has cancelled the call that runs."""


class _Supervisor:
    """The packet socket on which the supervisor hands connections over; a channel of the I/O thread."""

    def __init__(self, packets: PacketSocket, calls: Calls) -> None:
        self._packets, self._calls = packets, calls

    def fileno(self) -> int:
        return self._packets.fileno()

    def readable(self) -> None:
        try:
            while received := self._packets.receive():
                message, descriptors = received
                if isinstance(message, internal.Adopt) and descriptors:
                    sock = socket.socket(fileno=descriptors[0])
                    self._calls.callers.adopt(sock, message.client, message.resume)
                elif isinstance(message, internal.Finish):
                    self._calls.finish()
                else:
                    close_all(descriptors)
        except EOFError:
            self._calls.end()

    def writable(self) -> bool:
        return True

    def say(self, message: internal.Internal) -> None:
        with contextlib.suppress(OSError):  # reading will tell
            self._packets.send(message)

    def close(self) -> None:
        self._calls.io.forget(self, self._packets.close)


_Entry = tuple[Caller, int, messages.CallExposed, list[memoryview]]


class Calls:
    """Takes calls in and runs them: one at a time where `run` was called, or on `threads` threads.

    `settings`: how many calls wait at once, and how large what they bring may be.
    """

    def __init__(self, exposed: Exposed, threads: int, settings: WorkerSettings | None = None) -> None:
        settings = settings or WorkerSettings()
        self.io = IoThread()
        self.callers = Callers(self.io, self.take, settings)
        self._limit = settings.calls
        self._waiting: set[tuple[Caller, int]] = set()
        self._supervisor: _Supervisor | None = None
        self._exposed = exposed
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._cancelled: set[tuple[Caller, int]] = set()
        self._running: tuple[Caller, int] | None = None
        self._stopped: tuple[Caller, int] | None = None
        self._answering: list[Caller] = []  # whose calls run; once for each
        self._is_main = False
        self._is_answering = False  # an answer is being sent: Ctrl-C waits
        self._is_ctrl_c_kept = False
        self._is_finishing = False  # the server ends
        self._ended = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, "rpc_magic-call") if threads > 1 else None

    def listen(self, packets: PacketSocket) -> None:
        """Take connections from the supervisor."""
        supervisor = self._supervisor = _Supervisor(packets, self)
        self.callers.on_broken = lambda: supervisor.say(internal.Broken(int(Role.FUNCTIONS)))
        self.io.watch(supervisor)
        supervisor.say(internal.ProgramReady(self._exposed.names))

    def run(self) -> None:
        """Run calls until `end`."""
        if self._pool is not None:
            self._ended.wait()
            return
        self._is_main = threading.current_thread() is threading.main_thread()
        old = signal.signal(signal.SIGINT, self._on_sigint) if self._is_main else None
        try:
            while not self._ended.is_set():
                entry = self._queue.get()
                if entry is None:
                    return
                self._run_one(entry)
        finally:
            if old is not None:
                signal.signal(signal.SIGINT, old)

    def _on_sigint(self, _number: int, _frame: FrameType | None) -> None:
        """A cancel interrupts the call that it is meant for and nothing else; Ctrl-C waits for an answer's end."""
        stopped, self._stopped = self._stopped, None
        if stopped is None and self._is_answering:
            self._is_ctrl_c_kept = True
        elif stopped is None:
            raise KeyboardInterrupt
        elif stopped == self._running:
            self._running = None
            raise _CancelledCall

    def finish(self) -> None:
        """I/O thread: take no more calls, and tell the supervisor when those that run and wait have ended."""
        self._is_finishing = True
        if self._supervisor is None or self._waiting or self._answering:
            return
        self.callers.flush()
        self._supervisor.say(internal.Finished())

    def end(self) -> None:
        """Run no more calls."""
        self._ended.set()
        self._queue.put(None)
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        if self._supervisor is not None:
            self._supervisor.close()
        self.callers.close(self._answering)
        self.io.end()

    def take(self, client: Caller, call: int, request: messages.Request, buffers: list[memoryview]) -> None:
        """I/O thread: a request has come."""
        match request:
            case messages.ListFunctions():
                client.answer(call, self._exposed.listing())
            case messages.CallExposed() if self._is_finishing:
                client.answer(
                    call, messages.Refused("the server is about to end; call again once it is back")
                )
            case messages.CallExposed():
                if len(self._waiting) >= self._limit:
                    full = messages.OverLimit(
                        "the program's queue", len(self._waiting) + 1, self._limit, "calls", "calls"
                    )
                    client.answer(call, full)
                    return
                entry = (client, call, request, buffers)
                self._waiting.add((client, call))
                if self._pool is not None:
                    self._pool.submit(self._run_one, entry)
                else:
                    self._queue.put(entry)
            case messages.CancelCall(number):
                self._cancel((client, number))
            case messages.Acknowledge():
                pass
            case _:
                client.answer(
                    call, messages.Refused("this connection runs exposed functions and nothing else")
                )

    def _cancel(self, name: tuple[Caller, int]) -> None:
        if self._running == name and self._is_main:
            self._stopped = name
            # A real signal: it ends a sleep or a read too.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        elif name in self._waiting:
            self._cancelled.add(name)

    def _run_one(self, entry: _Entry) -> None:
        client, call, request, buffers = entry
        name = (client, call)
        self._answering.append(client)
        self._waiting.discard(name)
        try:
            self._run_named(name, request, buffers)
        finally:
            self._answering.remove(client)
            if self._ended.is_set():
                client.close_now()
            elif self._is_finishing:
                self.io.do(self.finish)

    def _run_named(
        self, name: tuple[Caller, int], request: messages.CallExposed, buffers: list[memoryview]
    ) -> None:
        client, call = name
        if name in self._cancelled:
            self._cancelled.discard(name)
            client.answer(call, *failure(KeyboardInterrupt("cancelled before it began")))
            return
        is_over = False
        try:
            self.callers.settle()
            self._running = name
            answer = self._exposed.call(request, buffers)
            self._running = None
        except KeyboardInterrupt as error:
            self._running = None
            is_over = not isinstance(error, _CancelledCall)
            answer = failure(KeyboardInterrupt(*error.args).with_traceback(error.__traceback__))
        self._is_answering = True
        client.answer(call, *answer)
        self._is_answering = False
        if is_over or self._is_ctrl_c_kept:
            raise KeyboardInterrupt
