"""A worker's status page: some words of memory that worker, keeper and supervisor share.

Whoever reads it learns what the worker does without asking it: it may be deep in C code. The layout is
`rpc_magic.wire.internal.STATUS_PAGE`; each word has one writer.
"""

from __future__ import annotations

import mmap
import threading
import time
from collections.abc import Callable
from struct import Struct

from rpc_magic.wire import internal

__all__ = ["StatusPage"]

_NUMBER = Struct("=Q")
_BEGIN = Struct("=Qd")


class StatusPage:
    """The page, mapped.

    Args:
        descriptor: of the shared memory; not kept.
    """

    __slots__ = ("_drained", "_lock", "_page", "_seen", "_stale")

    def __init__(self, descriptor: int) -> None:
        self._page = mmap.mmap(descriptor, internal.PAGE_SIZE)
        self._drained = 0
        self._seen = self._stale = 0  # interrupts that were looked at; those of earlier clients
        self._lock = threading.Lock()

    def begin(self, call: int) -> None:
        """Worker: `call` runs from now on."""
        with self._lock:
            _BEGIN.pack_into(self._page, internal.CURRENT_AT, call, time.monotonic())

    def end(self) -> None:
        """Worker: nothing runs."""
        with self._lock:
            _NUMBER.pack_into(self._page, internal.CURRENT_AT, 0)

    def rename(self, number: Callable[[], int]) -> None:
        """Worker, any thread: the client knows what runs by another number now, which `number` gives; 0 for nothing."""
        with self._lock:
            if _NUMBER.unpack_from(self._page, internal.CURRENT_AT)[0]:
                _NUMBER.pack_into(self._page, internal.CURRENT_AT, number())

    def is_interrupt_wanted(self) -> bool:
        """Worker: tell whether an interrupt that has just come is meant for what runs now."""
        count = self._interrupts()
        new, self._seen = self._meant(self._seen, count), count
        if not new:
            # Several came as one signal; or this one comes from elsewhere, as from the user's own code.
            return not any(self._meant(count - 1, count))
        return not {0, _NUMBER.unpack_from(self._page, internal.CURRENT_AT)[0]}.isdisjoint(new)

    def is_stopped(self, call: int) -> bool:
        """Worker: tell whether an interrupt was meant for `call`, which begins only now: it was on its way."""
        count = self._interrupts()
        if not call or call not in self._meant(self._stale, count):
            return False
        self._seen = count
        return True

    def forget_interrupts(self) -> None:
        """Worker: another client is there, which counts its calls anew."""
        self._stale = self._interrupts()

    def _interrupts(self) -> int:
        return int(_NUMBER.unpack_from(self._page, internal.INTERRUPTS_AT)[0])

    def _meant(self, first: int, count: int) -> list[int]:
        """Return the calls that the interrupts from number `first` on were meant for, of `count` in all."""
        first = max(0, first, count - internal.RING)
        return [
            _NUMBER.unpack_from(self._page, internal.RING_AT + number % internal.RING * _NUMBER.size)[0]
            for number in range(first, count)
        ]

    def note_tasks(self, count: int) -> None:
        """Worker, engine thread: so many tasks of the engine have not ended."""
        _NUMBER.pack_into(self._page, internal.TASKS_AT, count)

    def add_drained(self, count: int) -> None:
        """Keeper: `count` more bytes are about to be taken from the worker's pipes."""
        self._drained += count
        _NUMBER.pack_into(self._page, internal.DRAINED_AT, self._drained)

    def drained(self) -> int:
        """Worker: return how many bytes the keeper has taken from its pipes so far."""
        return int(_NUMBER.unpack_from(self._page, internal.DRAINED_AT)[0])
