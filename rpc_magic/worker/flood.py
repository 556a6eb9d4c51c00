"""What is shown of a call that prints more than a page, and a person, can take.

The first lines pass. After them only the last ones are held, and what they push out is counted: they are shown when the
call ends, a few of them every `WINDOW` seconds and before anything else that the call shows, each time below a mark
that says how much was left out. A line is what ends in a newline; text without one counts by its size.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

__all__ = ["LATEST", "WINDOW", "Flood"]

WINDOW = 10.0  # seconds; who watches sees that it goes on, and the page grows slowly
LATEST = 20  # lines shown in between
_LAST_PART = 10  # the last lines are at most this part of the first ones

Piece = tuple[str, str]
"""The stream's name, and text."""


class Flood:
    """The streams of one call. Not thread-safe.

    Args:
        lines: the first lines that are shown; 0 for no limit.
        size: characters of them; 0 for no limit.
        clock: gives seconds.
    """

    def __init__(self, lines: int, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._lines = lines or float("inf")
        self._size = size or float("inf")
        self._last_lines = max(1.0, lines // _LAST_PART) if lines else self._lines
        self._last_size = max(1.0, size // _LAST_PART) if size else self._size
        self._clock = clock
        self._held: deque[tuple[str, str, int]] = deque()  # stream, text, newlines in it
        self._held_lines = self._held_size = 0
        self._left_lines = self._left_size = 0
        self.due = float("inf")

    @property
    def is_holding(self) -> bool:
        """Text is held."""
        return bool(self._held)

    def take(self, name: str, text: str) -> str:
        """Take text of a stream; return what is to be shown at once."""
        first = ""
        if self._lines > 0 and self._size > 0:
            first, text = self._split(text)
        if text:
            self._hold(name, text)
        return first

    def release(self, lines: float | None = None) -> list[Piece]:
        """Return what is held, below its mark.

        Args:
            lines: the last ones that are shown; None for all that are held.
        """
        if not self._held:
            return []
        self._trim(self._last_lines if lines is None else min(lines, self._last_lines), exactly=True)
        held = [(name, text) for name, text, _ in self._held]
        mark = []
        if self._left_size:
            name, text = held[0]
            start = "" if text.startswith("\n") else "\n"
            mark = [(name, f"\n[{_amount(self._left_lines, self._left_size)} left out; {_HINT}]{start}")]
        self._held.clear()
        self._held_lines = self._held_size = self._left_lines = self._left_size = 0
        self.due = float("inf")
        return mark + held

    def _split(self, text: str) -> tuple[str, str]:
        """Return what still belongs to the first lines, and the rest."""
        count = text.count("\n")
        if count < self._lines and len(text) < self._size:
            self._lines -= count
            self._size -= len(text)
            return text, ""
        end = _after_lines(text, int(self._lines)) if count >= self._lines else len(text)
        end = int(min(end, self._size))
        self._lines = self._size = 0
        return text[:end], text[end:]

    def _hold(self, name: str, text: str) -> None:
        if not self._held and self.due == float("inf"):
            self.due = self._clock() + WINDOW
        count = text.count("\n")
        self._held.append((name, text, count))
        self._held_lines += count
        self._held_size += len(text)
        self._trim(self._last_lines)

    def _trim(self, lines: float, *, exactly: bool = False) -> None:
        """Leave the oldest held text out, in whole pieces while that keeps enough, and the rest of it if asked."""
        while len(self._held) > 1 and (
            self._held_lines - self._held[0][2] >= lines
            or self._held_size - len(self._held[0][1]) >= self._last_size
        ):
            _, text, count = self._held.popleft()
            self._leave_out(text, count)
        name, text, count = self._held[0]
        over = int(max(0, min(self._held_lines - lines, count))) if self._held_lines > lines else 0
        end = _after_lines(text, over) if over else 0
        if self._held_size - end > self._last_size:
            end = int(min(len(text), self._held_size - self._last_size))
        if end and (exactly or len(text) > 2 * self._last_size):
            self._leave_out(text[:end], text.count("\n", 0, end))
            self._held[0] = (name, text[end:], count - text.count("\n", 0, end))

    def _leave_out(self, text: str, count: int) -> None:
        self._held_lines -= count
        self._held_size -= len(text)
        self._left_lines += count
        self._left_size += len(text)


_HINT = "%rpc_config output_lines and output_size set how much is shown"


def _after_lines(text: str, count: int) -> int:
    """Return the position after so many newlines; there are as many."""
    end = 0
    for _ in range(count):
        end = text.index("\n", end) + 1
    return end


def _amount(lines: int, size: int) -> str:
    """Return how much text something is, in words."""
    units = [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")]
    shown = next((f"{size / unit:.1f} {name}" for unit, name in units if size >= unit), f"{size} characters")
    return f"{lines:,} line{'s' if lines != 1 else ''} ({shown})" if lines else shown
