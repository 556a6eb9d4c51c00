"""What a notebook has run on a server lately: a plain record of its last calls, with what they showed."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rpc_magic.wire import messages

__all__ = ["CallLog", "Record", "title_of"]

_REMEMBERED = 50
"""Calls that are remembered."""
_SHOWN = 1 << 20
"""Bytes of what a call showed that are kept, about: enough for a few figures."""


def title_of(cell: str) -> str:
    """Return the first line of a cell, for lists."""
    line = next((line.strip() for line in cell.splitlines() if line.strip()), "cell")
    return line if len(line) <= 40 else f"{line[:39]}…"


class Record:
    """One call.

    Args:
        number: counts the calls of the log.
        title: its first line.
        cancel: ends it; any thread.

    Attributes:
        state: "running", "done", "failed", "interrupted" or "cancelled".
        shown: what it showed, as messages; `is_cut` when some of it was not kept.
    """

    def __init__(
        self, number: int, title: str, cancel: Callable[[], Any], changed: Callable[[], None]
    ) -> None:
        self.number, self.title, self.cancel = number, title, cancel
        self.state = "running"
        self.shown: list[messages.Message] = []
        self.is_cut = False
        self._changed = changed
        self._began, self._ended, self._size = time.monotonic(), 0.0, 0

    @property
    def seconds(self) -> float:
        """Seconds since it was started, until its end."""
        return (self._ended or time.monotonic()) - self._began

    def keep(self, message: messages.Message) -> None:
        """Keep something that it showed."""
        match message:
            case messages.Stream(_, text):
                size = len(text)
            case messages.Display(data) | messages.ExecuteResult(data):
                size = sum(len(value) for value in data.values() if isinstance(value, str))
            case messages.ShownError(_, _, lines):
                size = sum(map(len, lines))
            case messages.ClearOutput():
                self.shown.clear()
                self._size, self.is_cut = 0, False
                return
            case _:
                return
        if self._size + size > _SHOWN:
            self.is_cut = True
            return
        self._size += size
        self.shown.append(message)

    def end(self, error: BaseException | None = None, *, is_cancelled: bool = False) -> None:
        """It has ended, with this error."""
        self._ended = time.monotonic()
        if is_cancelled:
            self.state = "cancelled"
        elif error is None:
            self.state = "done"
        else:
            self.state = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        self._changed()


class CallLog:
    """The last calls of one server. Thread-safe.

    Args:
        changed: called when one begins or ends, on its thread.
    """

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._records: deque[Record] = deque(maxlen=_REMEMBERED)
        self._lock = threading.Lock()
        self._count = 0
        self.changed = changed

    def _tell(self) -> None:
        self.changed()

    def begin(self, title: str, cancel: Callable[[], Any]) -> Record:
        """Note that a call begins."""
        with self._lock:
            self._count += 1
            record = Record(self._count, title, cancel, self._tell)
            self._records.append(record)
        self.changed()
        return record

    def latest(self) -> list[Record]:
        """Return the calls, the latest first."""
        with self._lock:
            return list(reversed(self._records))
