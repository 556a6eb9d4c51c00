"""What has come for a call and its caller has not taken yet: bounded, however slowly it is taken.

Theory of operation. Whoever reads puts events here, the caller's thread takes them. The next one waits in a queue, the
rest is held behind it. Where more than `_FULL` is held, the link is told (`is_full`) and reads no more until half of
that is gone: the session then waits with what it prints, and nothing is lost. A link that carries other calls cannot
do that: of what is held for one call beyond `_MOST`, the middle is left out, with a mark. After Stop nobody wants to
wait for a slow function to be given all that has come: it has `_HASTE` seconds, then it gets the last lines only.

`_lock` is held for moments, by the main thread with SIGINT held back.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from rpc_magic.client.interrupts import Deferred
from rpc_magic.client.values import human_size
from rpc_magic.wire import messages

__all__ = ["Event", "Events", "Held"]

Event = tuple[messages.Message | Exception, list[memoryview]]

_FULL = 4 << 20
"""Bytes held from which on nothing more is read for the call; a page is drawn from less."""
_MOST = 64 << 20
"""Bytes held beyond which the middle is left out."""
_SLOW = "what takes this output is slower than what makes it"
_HASTE = 0.5
"""Seconds after Stop, and after it has come, in which what has come is still given as it came."""
_LAST = 4096
"""Characters that are given of the rest."""
_MESSAGE = 1024
"""Bytes that a message takes besides its content."""


class _Mark:
    """Stands for what was left out, `size` bytes; `text` follows it."""

    def __init__(self, stream: str) -> None:
        self.stream, self.size, self.text = stream, 0, ""

    def event(self, reason: str) -> Event:
        told = f"\n[{human_size(self.size)} left out: {reason}]\n"
        return messages.Stream(self.stream, told + self.text), []


def _size_of(event: Event | _Mark) -> int:
    """Return about how many bytes an event takes."""
    if isinstance(event, _Mark):
        return _MESSAGE
    message, buffers = event
    size = _MESSAGE + sum(map(len, buffers))
    if isinstance(message, messages.Stream):
        return size + len(message.text)
    if isinstance(message, messages.Display):
        return size + sum(len(part) for part in message.data.values() if isinstance(part, (str, bytes)))
    return size


class Held:
    """Events in order; of more than `most` bytes the middle is left out, as far as it is text or displays.

    Not thread-safe.

    Args:
        most: bytes; half of them for the first events, half for the last.
        reason: why something is left out, a clause for the mark.
    """

    def __init__(self, most: int, reason: str) -> None:
        self._half, self._reason = most // 2, reason
        self._first: deque[Event | _Mark] = deque()
        self._last: deque[Event] = deque()
        self._first_size = self._last_size = 0

    @property
    def size(self) -> int:
        """Bytes held."""
        return self._first_size + self._last_size

    def __bool__(self) -> bool:
        return bool(self._first or self._last)

    def add(self, event: Event) -> None:
        """Hold an event."""
        size = _size_of(event)
        if not self._last and self._first_size + size <= self._half:
            self._first.append(event)
            self._first_size += size
            return
        self._last.append(event)
        self._last_size += size
        while self._last_size > self._half and len(self._last) > 1:
            oldest = self._last.popleft()
            self._last_size -= _size_of(oldest)
            self._leave_out(oldest)

    def pop(self) -> Event:
        """Give the first event that is held."""
        if not self._first:
            self._first.extend(self._last)
            self._first_size, self._last_size = self._last_size, 0
            self._last.clear()
        event = self._first.popleft()
        self._first_size -= _size_of(event)
        return event.event(self._reason) if isinstance(event, _Mark) else event

    def take(self) -> Iterator[Event]:
        """Give all that is held."""
        while self:
            yield self.pop()

    def shorten(self) -> None:
        """Leave out of the text and the displays all but the last lines."""
        events = [*self._first, *self._last]
        self._first.clear()
        self._last.clear()
        self._first_size = self._last_size = 0
        end = [events.pop()] if events and _is_end(events[-1]) else []
        stream, text = "", ""
        while events and len(text) <= _LAST and (more := _text_of(events[-1])) and stream in ("", more[0]):
            stream, text = more[0], more[1] + text
            mark = events[-1]
            if isinstance(mark, _Mark):
                mark.text = ""
                break
            events.pop()
        shown = text if len(text) <= _LAST else text[-_LAST:].partition("\n")[2] or text[-_LAST:]
        for event in events:
            self._leave_out(event)
        if len(text) > len(shown):
            self._leave_out((messages.Stream(stream, text[: -len(shown)]), []))
        if self._first and isinstance(mark := self._first[-1], _Mark):
            mark.stream, mark.text = stream or mark.stream, shown
        elif shown:
            self._first.append((messages.Stream(stream, shown), []))
        self._first.extend(end)
        self._first_size = sum(map(_size_of, self._first))

    def _leave_out(self, event: Event | _Mark) -> None:
        """Count an event that is left out; keep, among the first, one that must not be."""
        mark = self._first[-1] if self._first else None
        if isinstance(event, _Mark):
            size, stream = event.size + len(event.text), event.stream
        elif isinstance(event[0], (messages.Stream, messages.Display)):
            size = _size_of(event) - _MESSAGE
            stream = event[0].name if isinstance(event[0], messages.Stream) else "stdout"
        else:
            self._first.append(event)
            self._first_size += _size_of(event)
            return
        if not isinstance(mark, _Mark) or mark.text:
            mark = _Mark(stream)
            self._first.append(mark)
            self._first_size += _MESSAGE
        mark.size += size


def _is_end(event: Event | _Mark) -> bool:
    return isinstance(event, tuple) and isinstance(event[0], (messages.Outcome, Exception))


def _text_of(event: Event | _Mark) -> tuple[str, str] | None:
    """Return stream and text; None where there is none."""
    if isinstance(event, _Mark):
        return (event.stream, event.text) if event.text else None
    return (event[0].name, event[0].text) if isinstance(event[0], messages.Stream) else None


class Events:
    """See the module's text. One thread puts at a time, one takes.

    Attributes:
        on_room: called, by the thread that takes, when it is no longer full.
    """

    __slots__ = ("_due", "_held", "_lock", "_queue", "_since", "is_full", "on_room")

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._held: Held | None = None
        self._lock = threading.Lock()
        self._due = 0.0  # when it may be shortened; 0 without Stop
        self._since = 0.0  # since when something is held
        self.is_full = False
        self.on_room: Callable[[], object] = bool

    def put(self, event: Event) -> None:
        """Whoever reads: something has come."""
        with self._lock:
            if not self._held and self._queue.empty():
                self._queue.put(event)
                return
            if not self._held:
                self._held, self._since = Held(_MOST, _SLOW), time.monotonic()
            held = self._held
            held.add(event)
            if self._queue.empty():  # what was there has been taken meanwhile: the caller may wait already
                self._queue.put(held.pop())
            self.is_full = self.is_full or (held.size > _FULL and not self._due)

    def get(self, timeout: float | None) -> Event:
        """Take the next event.

        Raises:
            queue.Empty: none has come after `timeout` seconds.
        """
        if self._held:
            with Deferred():
                self._move()
        return self._queue.get(timeout=timeout)

    @property
    def is_empty(self) -> bool:
        """Nothing waits to be taken."""
        return self._queue.empty() and not self._held

    def hurry(self) -> None:
        """The call is to end: what is held does not hold its end up. Any thread."""
        with self._lock:
            self._due = self._due or time.monotonic() + _HASTE
            was_full, self.is_full = self.is_full, False
        if was_full:
            self.on_room()

    def _move(self) -> None:
        """Have the next of what is held in the queue."""
        with self._lock:
            held = self._held
            assert held is not None
            if self._due and time.monotonic() >= max(self._due, self._since + _HASTE):
                held.shorten()  # it is not taken, not merely late
            while held and self._queue.empty():
                self._queue.put(held.pop())
            has_room = self.is_full and held.size < _FULL // 2
            if has_room:
                self.is_full = False
        if has_room:
            self.on_room()
