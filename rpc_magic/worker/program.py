"""A server inside a program: `Server`, in five lines.

The supervisor is a process beside the program and ends with it. It listens and proves; a proved connection for
calls by name is handed to the program, where an I/O thread reads it and the functions run: one at a time on the
thread that called `serve_forever`, or on several threads.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec

from rpc_magic.errors import ProtocolError, RpcMagicError
from rpc_magic.runtime import launch
from rpc_magic.settings import WireLimits
from rpc_magic.transport import FrameSocket, PacketSocket
from rpc_magic.transport.iothread import IoThread
from rpc_magic.transport.packets import close_all
from rpc_magic.wire import internal, messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.worker.exposed import Answer, Exposed, failure, public_functions
from rpc_magic.worker.system import die_with_parent

__all__ = ["Server"]

F = TypeVar("F", bound=Callable[..., Any])
_DEFAULT_URL = "tcp://127.0.0.1:0"


class Server:
    """Exposes functions of this program to clients; sessions too, unless `sessions` is False.

    Args:
        url: where to listen, as ``tcp://127.0.0.1:8000`` or ``unix:///path.sock``; None takes a free port.
        token_file: the file of the token that clients must know; None makes one, which clients of this user on
            this machine find by themselves.
        name: the server's name; None takes one from its address.
        sessions: let clients run functions and cells of their own, in processes beside this one.
        arguments: "any", or "data": exposed functions take plain data only, and nothing is ever unpickled.
        threads: how many calls run at once.

    Example::

        server = rpc_magic.Server("tcp://127.0.0.1:8000")
        server.register(add)
        server.serve_forever()
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        token_file: str | os.PathLike[str] | None = None,
        name: str | None = None,
        sessions: bool = True,
        arguments: str = "any",
        threads: int = 1,
    ) -> None:
        if threads < 1:
            raise ValueError(f"threads must be 1 or more, not {threads}")
        self._exposed = Exposed(arguments)
        self._threads = threads
        self._config = launch.SupervisorConfig(
            url=url or _DEFAULT_URL,
            name=name or "",
            token_file=str(Path(token_file).expanduser().resolve()) if token_file is not None else "",
            sessions=sessions,
            plain_arguments=arguments == "data",
            watch_pid=os.getpid(),
            orphan_seconds=0.0,
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._calls = _Calls(self._exposed, threads)
        self._url = ""

    @property
    def url(self) -> str:
        """Where it listens; empty before `start`."""
        return self._url

    @overload
    def register(self, f: F, name: str | None = None) -> F: ...

    @overload
    def register(self, f: None = None, name: str | None = None) -> Callable[[F], F]: ...

    def register(self, f: F | None = None, name: str | None = None) -> F | Callable[[F], F]:
        """Expose a function, under its own name or `name`; also a decorator. May be called while serving.

        Raises:
            TypeError, ValueError: it cannot be exposed; see `Exposed.add`.
        """
        if f is None:
            return lambda function: self.register(function, name)
        self._exposed.add(f, name)
        return f

    def start(self) -> str:
        """Begin to listen; return the URL. Calls wait until `serve_forever`, unless `threads` is more than one.

        Raises:
            ConnectError: it cannot listen there.
        """
        if self._process is None:
            mine, theirs = PacketSocket.pair()
            try:
                config = msgspec.structs.replace(self._config, program_fd=theirs.fileno())
                self._process, self._url = launch.start(config, pass_fds=(theirs.fileno(),), timeout=30.0)
            except BaseException:
                mine.close()
                raise
            finally:
                theirs.close()
            self._calls.listen(mine)
        return self._url

    def serve_forever(self) -> None:
        """Run calls until `close` is called, Ctrl-C is pressed, or the supervisor is gone.

        With one thread the functions run on the calling thread. The URL is printed first.
        """
        fresh = self._process is None
        self.start()
        if fresh:
            print(self._url, flush=True)  # noqa: T201 - as `rpc-magic serve` does
        try:
            self._calls.run()
        except KeyboardInterrupt:
            pass
        finally:
            self.close()

    def close(self) -> None:
        """End the server; a call that runs ends first. May be called more than once, from any thread."""
        self._calls.end()
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None, /) -> None:
        self.close()


class _Client:
    """One client's connection for calls by name; a channel of the I/O thread."""

    def __init__(self, sock: socket.socket, calls: _Calls) -> None:
        self._frames = FrameSocket(sock, WireLimits())
        self._calls = calls

    def fileno(self) -> int:
        return self._frames.fileno()

    def readable(self) -> None:
        try:
            for frame in self._frames.read():
                self._calls.take(self, frame.call, messages.decode_request(frame.message), frame.buffers)
        except (EOFError, OSError, ProtocolError):
            self.close()

    def writable(self) -> bool:
        try:
            return self._frames.flush()
        except OSError:
            self.close()
            return True

    def close(self) -> None:
        self._calls.clients.discard(self)
        self._calls.io.forget(self, self._frames.close)

    def close_now(self) -> None:
        """Close when the I/O thread has ended."""
        self._frames.close()

    def answer(self, call: int, outcome: messages.Outcome, buffers: Sequence[Buffer] = ()) -> None:
        """Send an outcome; any thread. A client that has gone gets none."""
        try:
            is_sent = self._frames.is_closed or self._frames.send(call, messages.encode(outcome), buffers)
        except OSError:
            return
        if not is_sent:
            self._calls.io.watch_writing(self)


class _Supervisor:
    """The packet socket on which the supervisor hands connections over; a channel of the I/O thread."""

    def __init__(self, packets: PacketSocket, calls: _Calls) -> None:
        self._packets, self._calls = packets, calls

    def fileno(self) -> int:
        return self._packets.fileno()

    def readable(self) -> None:
        try:
            while received := self._packets.receive():
                message, descriptors = received
                if isinstance(message, internal.Adopt):
                    client = _Client(socket.socket(fileno=descriptors[0]), self._calls)
                    self._calls.clients.add(client)
                    self._calls.io.watch(client)
                else:
                    close_all(descriptors)
        except EOFError:
            self._calls.end()

    def writable(self) -> bool:
        return True

    def say(self, message: internal.Internal) -> None:
        self._packets.send(message)

    def close(self) -> None:
        self._calls.io.forget(self, self._packets.close)


_Entry = tuple[_Client, int, messages.CallExposed, list[memoryview]]


class _Calls:
    """Takes calls in and runs them: one at a time where `run` was called, or on `threads` threads."""

    def __init__(self, exposed: Exposed, threads: int) -> None:
        self.io = IoThread()
        self.clients: set[_Client] = set()
        self._supervisor: _Supervisor | None = None
        self._exposed = exposed
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._cancelled: set[tuple[_Client, int]] = set()
        self._running: tuple[_Client, int] | None = None
        self._stopped: tuple[_Client, int] | None = None
        self._answering: list[_Client] = []  # whose calls run; once for each
        self._is_main = False
        self._ended = threading.Event()
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, "rpc_magic-call") if threads > 1 else None

    def listen(self, packets: PacketSocket) -> None:
        """Take connections from the supervisor."""
        supervisor = self._supervisor = _Supervisor(packets, self)
        self.io.watch(supervisor)
        supervisor.say(internal.ProgramReady(self._exposed.names))

    def run(self) -> None:
        """Run calls until `end`."""
        if self._pool is not None:
            self._ended.wait()
            return
        self._is_main = threading.current_thread() is threading.main_thread()
        while not self._ended.is_set():
            try:
                entry = self._queue.get()
                if entry is None:
                    return
                self._run_one(entry)
            except KeyboardInterrupt:
                # Ctrl-C in the program ends it; an interrupt of a call that has just ended ends nothing.
                if self._stopped is None:
                    raise
                self._stopped = None

    def end(self) -> None:
        """Run no more calls."""
        self._ended.set()
        self._queue.put(None)
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        if self._supervisor is not None:
            self._supervisor.close()
        for client in list(self.clients):
            if client not in self._answering:
                client.close()
        self.io.end()

    def take(self, client: _Client, call: int, request: messages.Request, buffers: list[memoryview]) -> None:
        """I/O thread: a request has come."""
        match request:
            case messages.ListFunctions():
                client.answer(call, self._exposed.listing())
            case messages.CallExposed():
                entry = (client, call, request, buffers)
                if self._pool is not None:
                    self._pool.submit(self._run_one, entry)
                else:
                    self._queue.put(entry)
            case messages.CancelCall(number):
                self._cancel((client, number))
            case messages.Acknowledge():
                pass
            case _:
                client.answer(call, messages.Refused("this connection runs exposed functions and nothing else"))

    def _cancel(self, name: tuple[_Client, int]) -> None:
        if self._running == name and self._is_main:
            self._stopped = name
            # A real signal: it ends a sleep or a read too.
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        else:
            self._cancelled.add(name)

    def _run_one(self, entry: _Entry) -> None:
        client, call, request, buffers = entry
        name = (client, call)
        self._answering.append(client)
        try:
            self._run_named(name, request, buffers)
        finally:
            self._answering.remove(client)
            if self._ended.is_set():
                client.close_now()

    def _run_named(
        self, name: tuple[_Client, int], request: messages.CallExposed, buffers: list[memoryview]
    ) -> None:
        client, call = name
        if name in self._cancelled:
            self._cancelled.discard(name)
            client.answer(call, *failure(KeyboardInterrupt("cancelled before it began")))
            return
        answer: Answer
        try:
            self._running = name
            answer = self._exposed.call(request, buffers)
            self._running = None
        except KeyboardInterrupt as error:
            self._running = None
            if self._stopped != name:
                client.answer(call, *failure(error))
                raise
            self._stopped = None
            answer = failure(error)
        client.answer(call, *answer)


def main() -> int:
    """Expose the modules that a supervisor names: ``python -m rpc_magic.worker.program DESCRIPTOR CONFIG``."""
    die_with_parent()  # a function that runs on must not outlive its server
    packets = PacketSocket.from_descriptor(int(sys.argv[1]))
    config = msgspec.json.decode(sys.argv[2], type=launch.SupervisorConfig)
    exposed = Exposed("data" if config.plain_arguments else "any")
    try:
        for module in config.expose:
            for name, function in public_functions(import_module(module)).items():
                exposed.add(function, name)
    except (ImportError, RpcMagicError, ValueError) as error:
        print(f"rpc-magic: {error}", file=sys.stderr)  # noqa: T201 - a program's own words
        return 2
    calls = _Calls(exposed, config.threads)
    calls.listen(packets)
    calls.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
