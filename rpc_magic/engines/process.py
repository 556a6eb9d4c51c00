"""A process of the local engine: calls one function after another, and nothing else.

It reads tasks from a stream socket with blocking reads. SIGINT raises only while a task's function runs. One that
comes between the arrival of a task and the start of its function is kept for that; for one that comes even
earlier, a `CancelCall` follows the task on the socket.

The user's own modules are where the session's worker has them: it is asked at their import. When they are edited, the
engine puts a fresh process in this one's place.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rpc_magic import serial
from rpc_magic.errors import ProtocolError, TransferError
from rpc_magic.localmodules.importing import Finder
from rpc_magic.settings import WireLimits
from rpc_magic.transport import FrameSocket
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer, Frame

__all__ = ["run_process"]

Item = tuple[bool, Any, bytes]
"""What one call of a task gave: (True, value, b"") or (False, the exception's buffers or None, its record)."""


class _Process:
    def __init__(self, channel: FrameSocket, limit: int) -> None:
        self._channel, self._limit = channel, limit
        self._frames: list[Frame] = []
        self._functions: dict[bytes, Callable[..., Any] | BaseException] = {}
        self._values: dict[tuple[str, str], object] = {}
        self._in_task = self._in_function = self._is_stopped = False
        main = types.ModuleType("__main__")
        sys.modules["__main__"] = main
        self._namespace = main.__dict__
        self._asking = threading.Lock()
        sys.meta_path.insert(0, Finder(self._locate))

    def run(self) -> None:
        """Serve until the other side closes."""
        while True:
            frame = self._next()
            request = messages.decode_request(frame.message)
            if isinstance(request, messages.DefineFunction):
                try:
                    self._functions[request.digest] = self._decode(frame.buffers)
                except BaseException as error:  # noqa: BLE001 - said by the tasks that name it
                    self._functions[request.digest] = error
            elif isinstance(request, messages.MapTask):
                self._begin(frame.call)
                results = list(self._work(request.digest, frame.buffers, is_plain=request.plain_results))
                self._in_task = False
                for stream in (sys.stdout, sys.stderr):
                    with contextlib.suppress(Exception):
                        stream.flush()
                encode = serial.encode_plain if request.plain_results else self._encode
                self._answer(frame.call, messages.Returned(request.plain_results), encode(results))

    def _begin(self, number: int) -> None:
        """Take note of a task; it may have been cancelled before it was read."""
        self._is_stopped, self._in_task = False, True
        signal.signal(signal.SIGINT, self._on_interrupt)
        self._frames += self._channel.read()
        if any(frame.call == number for frame in self._frames):
            self._is_stopped = True

    def _on_interrupt(self, *_: object) -> None:
        if self._in_function:
            raise KeyboardInterrupt
        self._is_stopped = self._in_task

    def _next(self) -> Frame:
        while not self._frames:
            poll = select.poll()
            poll.register(self._channel, select.POLLIN)
            poll.poll()
            self._frames = self._channel.read()
        return self._frames.pop(0)

    def _say(self, call: int, message: messages.Message, buffers: Sequence[Buffer] = ()) -> None:
        if not self._channel.send(call, messages.encode(message), buffers):
            self._channel.flush_all()

    def _answer(self, call: int, outcome: messages.Outcome, buffers: Sequence[Buffer]) -> None:
        size = sum(map(len, buffers))
        if size > self._limit:
            outcome, buffers = messages.OverLimit("the result", size, self._limit, "bytes", "message"), ()
        self._say(call, outcome, buffers)

    def _decode(self, buffers: Sequence[Buffer]) -> Any:
        return serial.decode(buffers, namespace=self._namespace, resolve=self._fetch)

    def _fetch(self, session: str, key: str) -> object:
        """Return a value of the session that an argument stands for; a kept one is fetched once."""
        if (session, key) not in self._values or key.startswith("="):  # a variable may have changed
            self._values[session, key] = self._ask(messages.Fetch(session, key))
        return self._values[session, key]

    def _locate(self, name: str) -> Any:
        """Return where the worker has a module of the user's; any thread of the task's."""
        if not self._in_task and threading.current_thread() is not threading.main_thread():
            return None  # the main thread reads, and nobody could hear the answer
        with self._asking:
            is_in_function, self._in_function = self._in_function, False  # an interrupt must not tear a frame
            try:
                placed = self._ask(messages.Fetch("", name))
            finally:
                self._in_function = is_in_function
            if is_in_function and self._is_stopped:
                raise KeyboardInterrupt
            return placed

    def _ask(self, question: messages.Fetch) -> Any:
        """Ask the worker for a value; what comes meanwhile and is no answer is kept."""
        self._say(0, question)
        later: list[Frame] = []
        while True:
            frame = self._next()
            message: messages.Message | None = None
            with contextlib.suppress(ProtocolError):
                message = messages.decode_from_engine(frame.message)
            if message is not None:
                break
            if isinstance(messages.decode_request(frame.message), messages.CancelCall):
                self._is_stopped = True
            else:
                later.append(frame)
        self._frames[:0] = later
        value = self._decode(frame.buffers) if frame.buffers else None
        if isinstance(message, messages.Failed):
            raise (
                value if isinstance(value, BaseException) else TransferError("", "value", "it cannot be had")
            )
        return value

    def _work(self, digest: bytes, buffers: Sequence[Buffer], *, is_plain: bool) -> Iterator[Item]:
        function = self._functions[digest]
        try:
            if isinstance(function, BaseException):
                raise function  # noqa: TRY301 - so that it is told as if the task had raised it
            items = self._decode(buffers)
        except BaseException as error:  # noqa: BLE001 - it belongs to the caller
            yield _failure(error, is_plain=is_plain)
            return
        for args, kwargs in items:
            try:
                try:
                    self._in_function = True
                    if self._is_stopped:
                        raise KeyboardInterrupt
                    value = function(*args, **kwargs)
                finally:
                    self._in_function = False
                if is_plain:
                    serial.encode_plain(value, name="the result")
            except BaseException as error:  # noqa: BLE001 - it belongs to the caller
                yield _failure(error, is_plain=is_plain)
                return
            yield True, value, b""

    def _encode(self, results: list[Item]) -> Sequence[Buffer]:
        try:
            return serial.encode(results, namespace=self._namespace)
        except TransferError:
            return serial.encode([self._checked(item) for item in results], namespace=self._namespace)

    def _checked(self, item: Item) -> Item:
        try:
            serial.encode(item[1], namespace=self._namespace, name="the result")
        except TransferError as error:
            return _failure(error)
        return item


def _failure(error: BaseException, *, is_plain: bool = False) -> Item:
    kind = {KeyboardInterrupt: "interrupt", SystemExit: "exit", StopIteration: "stop"}.get(
        type(error), "error"
    )
    cls = type(error)
    name = cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a class of the user's
        text = "its text cannot be had"
    shown = error.__traceback__.tb_next if error.__traceback__ else None
    trace = "".join(traceback.format_exception(cls, error, shown))
    buffers = [] if is_plain else [bytes(b) for b in serial.encode_error(error)]
    return False, buffers or None, messages.encode_record(messages.ErrorRecord(kind, name, text, trace))


def run_process(sock: socket.socket, limit: int = WireLimits().payload) -> None:
    """Be a process of the engine until `sock` is closed by the other side; `limit`: bytes of one task's results."""
    most = WireLimits().payload
    process = _Process(FrameSocket(sock, WireLimits(payload=max(limit, most))), min(limit, most))
    with contextlib.suppress(EOFError, OSError):
        process.run()
