"""Routes what user code shows to the call it belongs to, in order and in batches.

Rules:

- A call is known by a context variable: tasks and callbacks inherit it by themselves, threads because their
  start is wrapped here. Code that has none (a thread of a C library) writes for the session's last call.
- Text is batched. The first text after a quiet moment leaves within `FIRST_DELAY`, more of it every
  `NEXT_DELAY`, at once when `LARGEST_BATCH` is pending, when something else is shown, and when a call ends.
- Writing takes no lock: appending to a deque is atomic, and texts are joined when they leave. `_sending` is
  held while messages go to the sink, so that their order is the order in which they were taken; it is
  reentrant, since a finalizer may print in the middle of a flush. The main thread holds it under the gate's
  mask: a KeyboardInterrupt between taking and sending would lose text.
- A process that user code forks has no flusher and must not speak on the parent's connection: its text goes
  to the real file descriptors, which the keeper drains.
"""

from __future__ import annotations

import builtins
import codecs
import contextlib
import functools
import getpass
import io
import itertools
import operator
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar, Token
from typing import Any

from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.worker.bundles import plain_text
from rpc_magic.worker.interrupts import InterruptGate

__all__ = ["Ask", "Outputs", "RoutedStream", "Sink"]

Sink = Callable[[int, messages.Message, Sequence[Buffer]], None]
"""Takes (call id, message, buffers); thread-safe, and blocks its caller as little as possible."""
Ask = Callable[[int, str, bool], str]
"""Takes (call id, prompt, hide what is typed); blocks until the user has answered."""

FIRST_DELAY = 0.015  # seconds; a person sees no delay, and the rest of the line still joins
NEXT_DELAY = 0.05  # seconds; twenty updates a second look continuous
LARGEST_BATCH = 64 * 1024  # characters pending before they leave at once
LARGEST_TEXT = 1024 * 1024  # characters in one message; more is split
_DESCRIPTORS = {"stdout": 1, "stderr": 2}
_CALL_AND_NAME = operator.itemgetter(0, 1)


class _InCall:
    """Context manager: what this thread or task shows belongs to a call."""

    __slots__ = ("_call", "_outputs", "_token")

    def __init__(self, outputs: Outputs, call: int) -> None:
        self._outputs, self._call = outputs, call
        self._token: Token[int] | None = None

    def __enter__(self) -> None:
        self._token = self._outputs.enter(self._call)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            self._outputs.leave(self._token)


class Outputs:
    """Routes what code shows to the call it belongs to; see the module's text.

    Args:
        sink: where messages go.
        ask: how ``input()`` and ``getpass()`` are answered.

    Attributes:
        gate: whose mask protects our own work on the main thread from SIGINT.
        sync: waits until what was written to the file descriptors 1 and 2 has been shown; main thread.
    """

    def __init__(self, sink: Sink, ask: Ask) -> None:
        self._sink = sink
        self._ask = ask
        self.gate = InterruptGate()
        self.sync: Callable[[], None] = lambda: None
        self._call: ContextVar[int] = ContextVar("rpc_magic_call")
        self._last = 0
        self._is_forked = False
        self._pending: deque[tuple[int, str, str]] = deque()
        self._size = 0
        self._is_armed = False
        self._last_flush = 0.0
        self._make_locks()

    def _make_locks(self) -> None:
        self._sending = threading.RLock()
        self._wake = threading.Event()

    # ------------------------------------------------------------------ which call

    def call(self, call_id: int) -> _InCall:
        """Return the context in which what this thread and its children show belongs to `call_id`."""
        return _InCall(self, call_id)

    def enter(self, call_id: int) -> Token[int]:
        """Make `call_id` the call of this context; give the answer to `leave`."""
        self._last = call_id
        return self._call.set(call_id)

    def leave(self, token: Token[int]) -> None:
        """End what `enter` began; text still pending leaves."""
        self._call.reset(token)
        if self._pending:
            self.flush()

    def current(self) -> int:
        """Return the call of this thread or task; the session's last call when it has none."""
        return self._call.get(self._last)

    # ------------------------------------------------------------------ what is shown

    def write(self, name: str, text: str) -> None:
        """Show text on a stream, soon.

        Args:
            name: "stdout" or "stderr".
            text: what to show.
        """
        if self._is_forked:
            os.write(_DESCRIPTORS[name], text.encode("utf-8", "backslashreplace"))
            return
        self._pending.append((self._call.get(self._last), name, text))
        self._size += len(text)
        if self._size >= LARGEST_BATCH:
            self.flush()
        elif not self._is_armed:
            with self.gate.masked():
                self._is_armed = True
                self._wake.set()

    def publish(self, message: messages.Message, buffers: Sequence[Buffer] = ()) -> None:
        """Send a message for the current call, after all text that was written before it."""
        if self._is_forked:
            if isinstance(message, messages.Display):
                self.write("stdout", f"{message.data.get('text/plain', '')}\n")
            elif isinstance(message, messages.ShownError):
                self.write("stderr", "\n".join((*message.lines, "")))
            return
        with self.gate.masked(), self._sending:
            self.flush()
            self._sink(self.current(), message, buffers)

    def flush(self) -> None:
        """Send the text that is pending. Any thread."""
        if self._is_forked:
            return
        with self.gate.masked(), self._sending:
            self._is_armed = False
            self._size = 0
            self._last_flush = time.monotonic()
            # What comes meanwhile leaves with the next flush: a printing thread cannot hold this one up.
            taken = [self._pending.popleft() for _ in range(len(self._pending))]
            for (call, name), run in itertools.groupby(taken, _CALL_AND_NAME):
                text = plain_text("".join([part for _, _, part in run]))
                for start in range(0, len(text), LARGEST_TEXT):
                    self._sink(call, messages.Stream(name, text[start : start + LARGEST_TEXT]), ())

    def _run_flusher(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            quiet = time.monotonic() - self._last_flush
            time.sleep(max(FIRST_DELAY, NEXT_DELAY - quiet))
            with contextlib.suppress(
                Exception
            ):  # a broken sink is its owner's to report; later text may get through
                self.flush()

    # ------------------------------------------------------------------ what is asked

    def ask(self, prompt: str, *, password: bool = False) -> str:
        """Ask the user for a line of text; blocks, and may be interrupted.

        Args:
            prompt: shown before the place to type.
            password: hide what is typed.

        Raises:
            EOFError: this is a process that user code forked.
        """
        if self._is_forked:
            raise EOFError("a child process of a session cannot ask the user")
        self.flush()
        return self._ask(self.current(), plain_text(prompt), password)

    # ------------------------------------------------------------------ taking the process over

    def install(self) -> None:
        """Take over the process's streams, thread starts and prompts. Once, after the fork."""
        self._make_locks()
        sys.stdout = RoutedStream(self, "stdout")
        sys.stderr = RoutedStream(self, "stderr")
        threading.Thread(target=self._run_flusher, name="rpc_magic output", daemon=True).start()
        self._route_threads()
        self._route_prompts()
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self._is_forked = True
        self._pending.clear()
        self._make_locks()

    def _route_threads(self) -> None:
        start_thread = threading.Thread.start
        call_of = self._call

        @functools.wraps(start_thread)
        def start(thread: threading.Thread) -> None:
            call = call_of.get(None)
            if call is not None and not thread.ident:
                run = thread.run

                def run_in_call() -> None:
                    thread.__dict__.pop("run", None)
                    call_of.set(call)
                    run()

                thread.run = run_in_call  # type: ignore[method-assign]  # covers subclasses that override run()
            start_thread(thread)

        threading.Thread.start = start  # type: ignore[assignment,method-assign]  # there is no hook for a start

    def _route_prompts(self) -> None:
        def ask_line(prompt: object = "", /) -> str:
            """Ask the user for a line of text, in the notebook."""
            return self.ask(str(prompt))

        def ask_password(prompt: str = "Password: ", stream: object = None, **_: object) -> str:  # noqa: ARG001
            """Ask the user for a password, in the notebook."""
            return self.ask(prompt, password=True)

        ask_line.__name__ = ask_line.__qualname__ = "input"
        ask_password.__name__ = ask_password.__qualname__ = "getpass"
        builtins.input = ask_line
        getpass.getpass = ask_password


class RoutedStream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` of a session.

    Args:
        outputs: where text goes.
        name: "stdout" or "stderr".
    """

    encoding = "utf-8"
    errors = "backslashreplace"
    newlines = None
    line_buffering = True
    write_through = False

    def __init__(self, outputs: Outputs, name: str) -> None:
        super().__init__()
        self.name = name
        self.mode = "w"
        self._outputs = outputs
        self._write = outputs.write
        self.buffer = _RoutedBuffer(self)

    def write(self, text: str, /) -> int:
        """Show text; the answer is its length."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if text:
            self._write(self.name, text)
        return len(text)

    def writelines(self, lines: Iterable[Any], /) -> None:
        """Show texts."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Send what is pending."""
        self._outputs.flush()

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return False: no terminal."""
        return False

    def fileno(self) -> int:
        """Return the real file descriptor, for child processes and C code."""
        return _DESCRIPTORS[self.name]

    def close(self) -> None:
        """Only flush: a session's streams live as long as it does."""
        self.flush()

    def reconfigure(self, **_: object) -> None:
        """Accept and ignore what programs set on ``sys.stdout``."""


class _RoutedBuffer(io.BufferedIOBase):
    """The ``buffer`` of a routed stream: bytes are shown as the UTF-8 text they are."""

    def __init__(self, stream: RoutedStream) -> None:
        super().__init__()
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._decoding = threading.Lock()

    @property
    def raw(self) -> Any:
        """This object: there is no unbuffered layer below."""
        return self

    def write(self, data: Any, /) -> int:
        """Show bytes; a character that is not complete yet waits for the rest."""
        with self._stream._outputs.gate.masked(), self._decoding:  # noqa: SLF001 - its other half
            data = bytes(data)
            self._stream.write(self._decoder.decode(data))
        return len(data)

    def flush(self) -> None:
        """Send what is pending."""
        self._stream.flush()

    def writable(self) -> bool:
        """Return True."""
        return True

    def isatty(self) -> bool:
        """Return False: no terminal."""
        return False

    def fileno(self) -> int:
        """Return the real file descriptor."""
        return self._stream.fileno()

    def close(self) -> None:
        """Only flush."""
        self.flush()
