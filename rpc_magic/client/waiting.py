"""Waiting for a call: its output is shown by the thread that waits, Ctrl-C is passed on, a stated time is kept.

How a call is stopped; Stop is Ctrl-C, or a stated time that is over::

    running ──Stop──► stopping ──5 s──► deaf ──Stop──► ending
                      │  ▲  │                          │
                      └──┘  │ Stop: interrupt again    └── 3 s, or Stop: wait no longer
                            └──5 s──► away ──Stop──► wait no longer; interrupt again when the server is back

Where Ctrl-C means that this process is to end, the wait ends and the call does not: who comes back finds it. Otherwise,
on the way to *stopping* the call is interrupted, on the way to *deaf* the user is told, on the way to *ending* the
session is ended. While the server cannot be reached nothing is known of the call: that is *away*, of which the user is
told too; the interrupt is delivered when the connection is back. A stated time that is over goes from *stopping* to
*ending* by itself. The call's end ends the wait in every state.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from rpc_magic.client.calls import Waiter
from rpc_magic.client.events import Event
from rpc_magic.client.interrupts import Deferred
from rpc_magic.errors import CallTimeoutError, SessionDiedError
from rpc_magic.wire import messages

__all__ = ["GRACE", "End", "Hooks", "wait_for"]

_LOOK = 0.1
"""Seconds between two looks at how far a transfer has come."""
GRACE = 5.0
"""Seconds that an interrupted call has to end before it is taken for deaf."""
_END_SECONDS = 3.0
"""Seconds until a session that was told to end is no longer waited for."""


class Hooks(NamedTuple):
    """What the one who waits does meanwhile.

    Attributes:
        show: shows output; called on the waiting thread.
        reply: sends the answer to a prompt.
        ask: asks the user.
        stop: interrupts the call.
        tell_deaf: tells the user that the call does not react, and what a second Stop does.
        is_away: tells whether the server cannot be reached just now.
        tell_away: tells the user so, and what a second Stop does.
        end: ends the session, for a reason (a clause); False where there is none that could be ended.
        abandon: takes no more interest in it.
        is_leaving: tells, within a moment, whether Ctrl-C came because this process is to end.
    """

    show: Callable[[messages.Message, list[memoryview]], None]
    reply: Callable[[messages.InputReply], None]
    ask: Callable[[messages.InputRequest, Callable[[messages.InputReply], None]], None]
    stop: Callable[[], None]
    tell_deaf: Callable[[], None]
    is_away: Callable[[], bool]
    tell_away: Callable[[], None]
    end: Callable[[str], bool]
    abandon: Callable[[], None]
    is_leaving: Callable[[], bool]


class End(NamedTuple):
    """How a call ended; `is_missed`: Ctrl-C has come, and the code has not heard of it."""

    outcome: messages.Outcome
    buffers: list[memoryview]
    is_missed: bool = False


def wait_for(
    waiter: Waiter,
    hooks: Callable[[], Hooks],
    timeout: float | None = None,
    *,
    is_stopped: bool = False,
    look: Callable[[], None] | None = None,
) -> End:
    """Wait for the end of a call.

    Args:
        waiter: the call.
        hooks: makes the hooks, when they are needed: most calls show nothing and end.
        timeout: seconds; None for no limit.
        is_stopped: Ctrl-C has come already.
        look: called every tenth of a second meanwhile; None for nothing to look at.

    Ctrl-C interrupts the call and the wait goes on, so that the session is known to be well afterwards; see the
    module's text for what follows when the call does not end. When the code ended without having heard of it, the end
    says so: whoever has noted what the call did raises KeyboardInterrupt then, as otherwise a loop of small calls could
    not be stopped. After `timeout` seconds the call is interrupted by itself.

    Raises:
        KeyboardInterrupt: Ctrl-C, and the session was ended or does not answer, or this process is to end.
        CallTimeoutError: the stated time is over.
        Exception: the connection's, when the end will not come.
    """
    first: Event | None = None
    stops = int(is_stopped)
    if timeout is None and not stops:
        try:
            first = _next_event(waiter, None, look)
        except KeyboardInterrupt:
            stops = 1
        else:
            if isinstance(first[0], messages.Outcome):
                return End(first[0], first[1])
    return _LongWait(waiter, hooks(), timeout, look).run(first, is_stopped=bool(stops))


def _next_event(waiter: Waiter, wait: float | None, look: Callable[[], None] | None) -> Event:
    """Return the next event; raise `queue.Empty` when none has come after `wait` seconds."""
    if look is None:
        return waiter.events.get(timeout=wait)
    end = float("inf") if wait is None else time.monotonic() + wait
    while True:
        rest = end - time.monotonic()
        try:
            return waiter.events.get(timeout=max(0.0, min(_LOOK, rest)))
        except queue.Empty:
            if rest <= _LOOK:
                raise
            look()


class _LongWait:
    """A wait in which something happens besides the call's end."""

    def __init__(
        self, waiter: Waiter, hooks: Hooks, timeout: float | None, look: Callable[[], None] | None
    ) -> None:
        self._waiter, self._hooks, self._timeout, self._look = waiter, hooks, timeout, look
        self._state = "running"
        self._due = None if timeout is None else time.monotonic() + timeout
        self._is_stopped = self._is_late = False
        self._is_over = False

    def run(self, first: Event | None, *, is_stopped: bool) -> End:
        """Wait for the end; `first` is an event that has been taken already."""
        if is_stopped:
            self._stop()
        while True:
            try:
                event = first or self._next()
                first = None
                if event is None:
                    self._time_is_over()
                    continue
                end = self._handle(*event)
                if end is not None:
                    return end
            except KeyboardInterrupt:
                if self._is_over:
                    raise
                self._stop()

    def _next(self) -> Event | None:
        """Return the next event; None when the time for the next step has come first."""
        waiter = self._waiter
        wait = None if self._due is None else max(0.0, self._due - time.monotonic())
        if waiter.end is not None and waiter.events.is_empty:
            return waiter.end  # Ctrl-C struck between its arrival and here
        if wait == 0.0 and waiter.end is None:
            return None  # whatever else has come
        try:
            return _next_event(waiter, wait, self._look)
        except queue.Empty:
            return None

    def _handle(self, message: messages.Message | Exception, buffers: list[memoryview]) -> End | None:
        """Show output, answer prompts; return the end."""
        if isinstance(message, messages.Outcome):
            if self._is_late and isinstance(message, (messages.Failed, messages.CellDone)):
                error = message.error
                if error is not None and error.kind == "interrupt":
                    raise self._timed_out()
            return End(message, buffers, self._is_stopped and not getattr(message, "heard", False))
        if isinstance(message, Exception):
            if self._state == "ending" and isinstance(message, SessionDiedError):
                self._give_up(message)
            raise message
        try:
            if isinstance(message, messages.InputRequest):
                self._hooks.ask(message, self._hooks.reply)
            else:
                self._hooks.show(message, buffers)
        except Exception:
            self._hooks.stop()
            self._hooks.abandon()
            raise
        return None

    def _stop(self) -> None:
        """Ctrl-C."""
        self._is_stopped = True
        with Deferred():
            if self._state == "running" and self._hooks.is_leaving():
                self._is_over = True
                raise KeyboardInterrupt
            if self._state == "away":
                if self._hooks.is_away():
                    self._give_up()
                self._state = "running"
            if self._state == "ending" or (self._state == "deaf" and not self._end("it was stopped")):
                self._give_up()
            if self._state != "ending":
                self._hooks.stop()
            if self._state == "running":
                self._state, self._due = "stopping", time.monotonic() + GRACE

    def _time_is_over(self) -> None:
        """The time for the next step has come."""
        if self._state == "running":
            self._is_late = True
            self._hooks.stop()
            self._state, self._due = "stopping", time.monotonic() + GRACE
        elif self._state == "ending" or (self._is_late and not self._end("a call did not end in time")):
            self._give_up()
        elif self._state == "stopping" and self._hooks.is_away():
            self._state, self._due = "away", None
            self._hooks.tell_away()
        elif self._state == "stopping":
            self._state, self._due = "deaf", None
            self._hooks.tell_deaf()

    def _end(self, reason: str) -> bool:
        """Have the session ended, if there is one."""
        if not self._hooks.end(f"{reason}, and its code did not listen"):
            return False
        self._state, self._due = "ending", time.monotonic() + _END_SECONDS
        return True

    def _give_up(self, cause: Exception | None = None) -> NoReturn:
        """Wait no longer."""
        self._is_over = True
        self._hooks.abandon()
        if self._is_late:
            raise self._timed_out() from cause
        raise KeyboardInterrupt from cause

    def _timed_out(self) -> CallTimeoutError:
        return CallTimeoutError(self._timeout or 0.0, is_session_ended=self._state == "ending")
