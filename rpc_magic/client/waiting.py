"""Waiting for a call: its output is shown by the thread that waits, Ctrl-C is passed on, a stated time is kept."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from typing import NamedTuple

from rpc_magic.client.calls import Event, Waiter
from rpc_magic.client.interrupts import Deferred
from rpc_magic.errors import CallTimeoutError
from rpc_magic.wire import messages

__all__ = ["End", "Hooks", "wait_for"]

_LOOK = 0.1
"""Seconds between two looks at how far a transfer has come."""
_GRACE = 5.0
"""Seconds that an interrupted call has to end before its caller goes on without it."""


class Hooks(NamedTuple):
    """What the one who waits does meanwhile.

    Attributes:
        show: shows output; called on the waiting thread.
        reply: sends the answer to a prompt.
        ask: asks the user.
        stop: interrupts the call.
        abandon: takes no more interest in it.
    """

    show: Callable[[messages.Message, list[memoryview]], None]
    reply: Callable[[messages.InputReply], None]
    ask: Callable[[messages.InputRequest, Callable[[messages.InputReply], None]], None]
    stop: Callable[[], None]
    abandon: Callable[[], None]


class End(NamedTuple):
    """How a call ended."""

    outcome: messages.Outcome
    buffers: list[memoryview]


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

    The first Ctrl-C interrupts the call and the wait goes on, so that the session is known to be well afterwards; a
    second one ends the wait. After `timeout` seconds the call is interrupted likewise.

    Raises:
        KeyboardInterrupt: Ctrl-C twice.
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
    return _wait_long(waiter, hooks(), timeout, first, stops, look)


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


def _wait_long(
    waiter: Waiter,
    hooks: Hooks,
    timeout: float | None,
    first: Event | None,
    stops: int,
    look: Callable[[], None] | None,
) -> End:
    deadline = None if timeout is None else time.monotonic() + timeout
    is_late = False
    if stops:
        with Deferred():
            hooks.stop()
    while True:
        try:
            wait = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                if first is None and waiter.end is not None and waiter.events.empty():
                    first = waiter.end  # Ctrl-C struck between its arrival and here
                message, buffers = first or _next_event(waiter, wait, look)
                first = None
            except queue.Empty:
                if is_late:
                    hooks.abandon()
                    raise _timeout(timeout) from None
                is_late, deadline = True, time.monotonic() + _GRACE
                hooks.stop()
                continue
            if isinstance(message, messages.Outcome):
                if (
                    is_late
                    and isinstance(message, (messages.Failed, messages.CellDone))
                    and _was_stopped(message)
                ):
                    raise _timeout(timeout)
                return End(message, buffers)
            if isinstance(message, Exception):
                raise message
            try:
                if isinstance(message, messages.InputRequest):
                    hooks.ask(message, hooks.reply)
                else:
                    hooks.show(message, buffers)
            except Exception:
                hooks.stop()
                hooks.abandon()
                raise
        except KeyboardInterrupt:
            stops += 1
            with Deferred():
                hooks.stop()
                if stops > 1:
                    hooks.abandon()
            if stops > 1:
                raise


def _was_stopped(message: messages.Failed | messages.CellDone) -> bool:
    return message.error is not None and message.error.kind == "interrupt"


def _timeout(seconds: float | None) -> CallTimeoutError:
    return CallTimeoutError(seconds or 0.0)
