"""Calls: one that its caller waits for, and one that is a future."""

from __future__ import annotations

import concurrent.futures
import contextlib
import html
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from rpc_magic.client.events import Event, Events
from rpc_magic.errors import RpcMagicError
from rpc_magic.wire import messages

__all__ = ["Call", "ShownCall", "Waiter"]


class Waiter:
    """A call whose caller waits: whoever reads puts events here, the caller's own thread handles them.

    Attributes:
        call: its id; 0 until it has been sent.
        events: output, and at last the outcome or an exception.
        end: the last of them, once it has come. Ctrl-C may strike just after it was taken out of `events`.
    """

    __slots__ = ("call", "end", "events")
    waits = True

    def __init__(self) -> None:
        self.call = 0
        self.events = Events()
        self.end: Event | None = None

    @property
    def has_events(self) -> bool:
        """Something has come that has not been handled."""
        return not self.events.is_empty

    @property
    def is_full(self) -> bool:
        """What it shows is taken more slowly than it comes."""
        return self.events.is_full

    def hurry(self) -> None:
        """It was stopped: what it has shown, and its caller has not taken, does not hold its end up."""
        self.events.hurry()

    def output(self, message: messages.Output | messages.CommMessage, buffers: list[memoryview]) -> None:
        """I/O thread: something the call shows."""
        self.events.put((message, buffers))

    def finish(self, outcome: messages.Outcome, buffers: list[memoryview]) -> None:
        """I/O thread: the end."""
        self.end = (outcome, buffers)
        self.events.put(self.end)

    def fail(self, error: Exception) -> None:
        """I/O thread: the end will not come."""
        self.end = (error, [])
        self.events.put(self.end)


class Call(concurrent.futures.Future[Any]):
    """A call that runs on the server while the program goes on; a `concurrent.futures.Future`.

    It stays pending until its end, so `cancel()` succeeds at any time before that, and interrupts the call when it
    runs. SystemExit, KeyboardInterrupt, StopIteration and GeneratorExit there arrive as subclasses of `RemoteError`.

    Made by `Connection.submit`. Thread-safe. Callbacks run on the connection's I/O thread: they must not make
    blocking calls on the same connection.
    """

    waits = is_full = False

    def __init__(
        self,
        label: str,
        finish: Callable[[messages.Outcome, list[memoryview]], Any],
        show: Callable[[messages.Message, list[memoryview]], None],
        stop: Callable[[int], None],
    ) -> None:
        super().__init__()
        self._label, self._finish, self._show, self._stop = label, finish, show, stop
        self._began = time.monotonic()
        self._ended = 0.0
        self._cancelling = threading.RLock()  # a callback that `cancel` runs may cancel too
        self.id = 0

    def cancel(self) -> bool:
        """End the call, whether it waits or runs; False when it has ended already."""
        with self._cancelling:
            if self.cancelled():
                return True
            if not super().cancel():
                return False
            self._ended = time.monotonic()
            self.set_running_or_notify_cancel()
        self._stop(self.id)
        return True

    @property
    def call(self) -> int:
        """Its id on the connection; the same as `id`."""
        return self.id

    @call.setter
    def call(self, number: int) -> None:
        self.id = number

    @property
    def has_events(self) -> bool:
        """It has ended; what it shows is not kept."""
        return self.done()

    def hurry(self) -> None:
        """It was stopped; nothing is held for it."""

    @property
    def seconds(self) -> float:
        """Seconds since it was submitted, until its end."""
        return (self._ended or time.monotonic()) - self._began

    @property
    def state(self) -> str:
        """One of "pending", "done", "failed", "cancelled"."""
        if self.cancelled():
            return "cancelled"
        if not self.done():
            return "pending"
        return "failed" if self.exception() is not None else "done"

    def output(self, message: messages.Output | messages.CommMessage, buffers: list[memoryview]) -> None:
        """I/O thread: something the call shows."""
        with contextlib.suppress(Exception):
            self._show(message, buffers)

    def finish(self, outcome: messages.Outcome, buffers: list[memoryview]) -> None:
        """I/O thread: the end."""
        self._ended = time.monotonic()
        try:
            value, error = self._finish(outcome, buffers), None
        except BaseException as raised:  # noqa: BLE001 - it belongs to whoever asks for the result
            value, error = None, raised
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            if error is None:
                self.set_result(value)
            else:
                self.set_exception(error)

    def fail(self, error: Exception) -> None:
        """I/O thread: the end will not come."""
        self._ended = time.monotonic()
        with contextlib.suppress(concurrent.futures.InvalidStateError):
            self.set_exception(error)

    def __await__(self) -> Generator[Any, Any, Any]:
        import asyncio  # a third of the package's import time, which programs that await have paid already

        return asyncio.wrap_future(self).__await__()

    def __reduce__(self) -> Any:
        raise RpcMagicError("a Call cannot travel; send its result()")

    def __repr__(self) -> str:
        return f"<Call {self.id} {self._label}: {self.state}, {self.seconds:.1f} s>"

    def _repr_html_(self) -> str:
        label = html.escape(self._label)
        return f"<code>{label}</code> <b>{self.state}</b> <small>{self.seconds:.1f} s</small>"


class ShownCall(Call):
    """A call whose value the session shows.

    Attributes:
        ended: set when it has ended there, or will never; that may be after it was cancelled here.
        is_forgotten: the session had forgotten the function, so it was not called.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.ended = threading.Event()
        self.is_forgotten = False

    def finish(self, outcome: messages.Outcome, buffers: list[memoryview]) -> None:
        """I/O thread: the end."""
        super().finish(outcome, buffers)
        self.ended.set()

    def fail(self, error: Exception) -> None:
        """I/O thread: the end will not come."""
        super().fail(error)
        self.ended.set()
