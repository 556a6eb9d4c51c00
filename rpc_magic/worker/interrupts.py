"""Turns SIGINT into KeyboardInterrupt, and only where user code runs.

Theory of operation. The handler runs on the main thread, between two steps of whatever runs there, and looks
at three facts:

- *masked*: our own code that must not be torn apart (it sends, it holds a lock) is at work inside user code.
  The signal is kept and raised when the mask ends.
- *depth*: user code is running. KeyboardInterrupt is raised there.
- *task*: a cell waits in a top-level ``await``; the main thread is in the loop's select or runs another task.
  The cell's task is cancelled, and whoever runs the cell turns its CancelledError into KeyboardInterrupt.

A second SIGINT for a task that is still being cancelled means that the loop is stuck in another task's step,
as in ``await gather(busy())``. If user code is what runs there, CancelledError is raised in it: a task
survives that as a cancelled task and a callback as a logged error, where KeyboardInterrupt would end the
loop.

Anywhere else a SIGINT waits for the next user code of the same call, or is dropped with its end: KeyboardInterrupt
never tears a frame of the protocol. One gap needs care:
the handler may run at the very entry of our ``__exit__``, before it has counted down. Raising there would
lose the count, so the signal is kept, and settled by that ``__exit__`` itself. For the same reason a signal
that comes while the handler decides on another one raises nothing: it would do so inside the handler, and so
at that very entry. It is looked at when the first one turns out to be meant for something else.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["InterruptGate"]

_handler_of = getattr(sys.modules.get("_signal"), "getsignal", signal.getsignal)
"""As it is in C: the wrapper makes enum members, which takes a tenth of the time of a small call."""


class _UserCode:
    """Context manager, reentrant: inside, SIGINT raises KeyboardInterrupt. Main thread only."""

    __slots__ = ("_gate",)

    def __init__(self, gate: InterruptGate) -> None:
        self._gate = gate

    def __enter__(self) -> None:
        gate = self._gate
        if gate.early:
            gate.early = False
            gate.heard = True
            raise KeyboardInterrupt
        gate.depth += 1

    def __exit__(self, *_: object) -> None:
        gate = self._gate
        gate.depth -= 1
        if gate.kept:
            gate.settle()


class _Mask:
    """Context manager, reentrant: inside, SIGINT is kept. Nothing on other threads, which get no signals."""

    __slots__ = ("_gate", "_main")

    def __init__(self, gate: InterruptGate) -> None:
        self._gate = gate
        self._main = threading.main_thread().ident

    def __enter__(self) -> None:
        if threading.get_ident() == self._main:
            self._gate.masks += 1

    def __exit__(self, *_: object) -> None:
        gate = self._gate
        if threading.get_ident() == self._main:
            gate.masks -= 1
            if gate.kept:
                gate.settle()


_EXITS = frozenset({_UserCode.__exit__.__code__, _Mask.__exit__.__code__})


def _always() -> bool:
    return True


def _wake_up() -> None:
    """Nothing: that it was called has ended the loop's select."""


class InterruptGate:
    """Decides what a SIGINT does; see the module's text. One for each process, made after the fork.

    Attributes:
        is_wanted: asked by the handler whether this SIGINT is meant for what runs now; it must not block.
        depth: how many `user_code` contexts are open.
        masks: how many `masked` contexts are open on the main thread.
        kept: a SIGINT waits for the end of a mask.
        in_call: a call runs; set by whoever runs calls.
        early: a SIGINT came for the call that runs, but outside its user code; the next user code of that call
            raises. Whoever begins a call clears it.
        heard: a SIGINT was raised in the user code of the call that runs. Whoever begins a call clears it.
        dropped: how many SIGINTs came where nothing was to be interrupted.
        user_globals: the session's variables, by which frames of user code are recognised; None for none.
    """

    def __init__(self) -> None:
        self.is_wanted: Callable[[], bool] = _always
        self.depth = 0
        self.masks = 0
        self.kept = False
        self.in_call = False
        self.early = self.heard = False
        self.dropped = 0
        self.user_globals: dict[str, Any] | None = None
        self._user_code = _UserCode(self)
        self._masked = _Mask(self)
        self._task: asyncio.Task[object] | None = None
        self._cancelled = False
        self._is_deciding = self._has_missed = False
        self._handler = self._on_signal  # one object, to be known again

    def install(self) -> None:
        """Become the process's SIGINT handler, not that of its forked children. Main thread only."""
        signal.signal(signal.SIGINT, self._handler)
        os.register_at_fork(after_in_child=self._leave)

    def _leave(self) -> None:
        if _handler_of(signal.SIGINT) is self._handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def install_again(self) -> None:
        """Become it again where user code has put another one there, as pdb does. Main thread only."""
        if _handler_of(signal.SIGINT) is not self._handler:
            signal.signal(signal.SIGINT, self._handler)

    def user_code(self) -> _UserCode:
        """Return the context in which SIGINT raises KeyboardInterrupt (main thread, reentrant)."""
        return self._user_code

    def masked(self) -> _Mask:
        """Return the context in which SIGINT is kept until it ends (reentrant, any thread)."""
        return self._masked

    def set_task(self, task: asyncio.Task[object] | None) -> None:
        """Name the task to cancel while no user code runs; None when no cell waits."""
        self._task = task
        if task is not None:
            self._cancelled = False

    def take_cancelled(self) -> bool:
        """Tell whether a SIGINT has cancelled the task since it was named or the last question."""
        cancelled, self._cancelled = self._cancelled, False
        return cancelled

    def settle(self) -> None:
        """Raise a kept SIGINT if user code goes on, drop it if that has ended.

        Raises:
            KeyboardInterrupt: a signal was kept, and user code runs unmasked.
        """
        if self.masks and self.depth:
            return
        self.kept = False
        if self.depth:
            self.heard = True
            raise KeyboardInterrupt
        self._cancel_task()

    def _on_signal(self, _number: int, frame: FrameType | None) -> None:
        if self._is_deciding or (frame is not None and frame.f_code is InterruptGate._on_signal.__code__):
            self._has_missed = True
            return
        self._is_deciding, self._has_missed = True, False
        try:
            if not self.is_wanted() and not (self._has_missed and self.is_wanted()):
                self.dropped += 1
            else:
                self._decide(frame)
        finally:
            self._is_deciding = False

    def _decide(self, frame: FrameType | None) -> None:
        if self.masks or (self.depth and frame is not None and frame.f_code in _EXITS):
            self.kept = True
        elif self.depth:
            self.heard = True
            raise KeyboardInterrupt
        elif self._cancelled and self._is_user_code(frame):
            raise asyncio.CancelledError
        else:
            self._cancel_task()

    def _is_user_code(self, frame: FrameType | None) -> bool:
        """Tell whether a frame of user code is running, in a task or a callback."""
        while frame is not None and self.user_globals is not None:
            if frame.f_globals is self.user_globals:
                return True
            frame = frame.f_back
        return False

    def _cancel_task(self) -> None:
        task = self._task
        if task is None or task.done():
            self.early = self.in_call
            self.dropped += not self.in_call
            return
        self._cancelled = self.heard = True
        task.cancel()
        # A select that a signal interrupts is resumed, so the loop has to be woken to see the cancellation.
        task.get_loop().call_soon_threadsafe(_wake_up)
