"""Routes what user code shows to the call it belongs to, in order and in batches.

Rules:

- A call is known by a context variable: tasks and callbacks inherit it by themselves, threads because their
  start is wrapped here. Code that has none (a thread of a C library) writes for the session's last call.
- Text is batched. The first text after a quiet moment leaves within `FIRST_DELAY`, more of it every
  `NEXT_DELAY`, at once when `LARGEST_BATCH` is pending, when something else is shown, and when a call ends.
- A call may have limits: what floods is thinned out here, where it is made, so that neither the network nor a
  page has to take it (`rpc_magic.worker.flood`).
- Writing takes no lock: appending to a deque is atomic, and texts are joined when they leave. `_sending` is
  held while messages go to the sink, so that their order is the order in which they were taken; it is
  reentrant, since a finalizer may print in the middle of a flush. The main thread holds it under the gate's
  mask: a KeyboardInterrupt between taking and sending would lose text.
- A process that user code forks has no flusher and must not speak on the parent's connection: its text goes
  to the real file descriptors, which the keeper drains.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import getpass
import itertools
import operator
import os
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextvars import ContextVar, Token

from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.worker.bundles import plain_text
from rpc_magic.worker.flood import LATEST, WINDOW, Flood
from rpc_magic.worker.interrupts import InterruptGate
from rpc_magic.worker.lastwords import LastWords
from rpc_magic.worker.streams import DESCRIPTORS, RoutedStream

__all__ = ["Ask", "Outputs", "Sink"]

Sink = Callable[[int, messages.Message, Sequence[Buffer]], None]
"""Takes (call id, message, buffers); thread-safe, and blocks its caller as little as possible."""
Ask = Callable[[int, str, bool], str]
"""Takes (call id, prompt, hide what is typed); blocks until the user has answered."""

FIRST_DELAY = 0.015  # seconds; a person sees no delay, and the rest of the line still joins
NEXT_DELAY = 0.05  # seconds; twenty updates a second look continuous
LARGEST_BATCH = 64 * 1024  # characters pending before they leave at once
LARGEST_TEXT = 1024 * 1024  # characters in one message; more is split
_FLOODS = 64  # calls whose limits hold for what their threads show after their end
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
        words: where the last of what was printed is kept for the case that this process dies.

    Attributes:
        gate: whose mask protects our own work on the main thread from SIGINT.
        sync: waits until what was written to the file descriptors 1 and 2 has been shown; main thread.
    """

    def __init__(self, sink: Sink, ask: Ask, words: LastWords | None = None) -> None:
        self._sink = sink
        self._ask = ask
        self._words = words or LastWords()
        self.gate = InterruptGate()
        self.sync: Callable[[], None] = lambda: None
        self._call: ContextVar[int] = ContextVar("rpc_magic_call")
        self._last = 0
        self._is_forked = False
        self._pending: deque[tuple[int, str, str]] = deque()
        self._size = 0
        self._is_armed = False
        self._last_flush = 0.0
        self._floods: OrderedDict[int, Flood] = OrderedDict()
        self._is_holding = False
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

    def limit(self, lines: int, size: int) -> None:
        """Thin out what the current call prints.

        Args:
            lines: how many lines are shown at first; 0 for no limit.
            size: how many characters of them; 0 for no limit.
        """
        if lines or size:
            with self._sending:
                self._floods[self.current()] = Flood(lines, size)
                while len(self._floods) > _FLOODS:
                    self._floods.popitem(last=False)

    def end(self, call: int) -> None:
        """A call has ended: the last lines of what it has printed are shown."""
        flood = self._floods.get(call)
        if flood is not None:
            with self.gate.masked(), self._sending:
                self._release(call, flood)

    # ------------------------------------------------------------------ what is shown

    def write(self, name: str, text: str) -> None:
        """Show text on a stream, soon.

        Args:
            name: "stdout" or "stderr".
            text: what to show.
        """
        if self._is_forked:
            os.write(DESCRIPTORS[name], text.encode("utf-8", "backslashreplace"))
            return
        self._pending.append((self._call.get(self._last), name, text))
        self._words.add(text)
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
            call = self.current()
            flood = self._floods.get(call)
            if flood is not None:
                self._release(call, flood, LATEST)
            self._sink(call, message, buffers)

    def flush(self) -> None:
        """Send the text that is pending. Any thread."""
        if self._is_forked:
            return
        with self.gate.masked(), self._sending:
            self._is_armed = False
            self._size = 0
            self._last_flush = time.monotonic()
            # What comes meanwhile leaves with the next flush: a printing thread cannot hold this one up.
            mark = self._words.waiting()
            taken = [self._pending.popleft() for _ in range(len(self._pending))]
            for (call, name), run in itertools.groupby(taken, _CALL_AND_NAME):
                text = "".join([part for _, _, part in run])
                flood = self._floods.get(call)
                self._show(call, name, text if flood is None else flood.take(name, text))
            self._words.leave(mark, "".join([text for _, name, text in taken if name == "stderr"]))
            if self._floods:
                self._release_due()

    def _show(self, call: int, name: str, text: str) -> None:
        text = plain_text(text)
        for start in range(0, len(text), LARGEST_TEXT):
            self._sink(call, messages.Stream(name, text[start : start + LARGEST_TEXT]), ())

    def _release(self, call: int, flood: Flood, lines: float | None = None) -> None:
        for name, text in flood.release(lines):
            self._show(call, name, text)

    def _release_due(self) -> None:
        """Show the latest lines of floods from time to time."""
        now = time.monotonic()
        for call, flood in self._floods.items():
            if flood.due <= now:
                self._release(call, flood, LATEST)
        self._is_holding = any(flood.is_holding for flood in self._floods.values())

    def _run_flusher(self) -> None:
        while True:
            self._wake.wait(WINDOW if self._is_holding else None)
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
