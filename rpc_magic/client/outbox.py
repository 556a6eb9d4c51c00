"""Large frames on their way out: the I/O thread sends them one after the other, their large buffers in chunks ahead.

A frame is done when it has left, or when nobody will take it any more. While one waits here, everything else that is
sent on the link waits behind it, so that the order of requests is kept.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from rpc_magic.transport import FrameSocket
from rpc_magic.transport.pace import Pace
from rpc_magic.wire.frames import Buffer
from rpc_magic.wire.transfers import Outgoing, Transfers

__all__ = ["Outbox"]


class _Entry:
    """A frame that waits; `left` is set when it has left."""

    __slots__ = ("buffers", "call", "encoded", "left", "outgoing", "size")

    def __init__(self, call: int, encoded: bytes, buffers: Sequence[Buffer], size: int) -> None:
        self.call, self.encoded, self.buffers, self.size = call, encoded, buffers, size
        self.left = threading.Event()
        self.outgoing: Outgoing | None = None


class Outbox:
    """See the module's text. `pump`, `flushed` and `drop` are called by the I/O thread only, `post` by any.

    Args:
        frames: the connection.
        transfers: sends large buffers in chunks; None sends them with their frames.

    Attributes:
        is_far: the other side is far away: what goes slowly is compressed.
    """

    def __init__(self, frames: FrameSocket, transfers: Transfers | None) -> None:
        self._frames, self._transfers = frames, transfers
        self._waiting: deque[_Entry] = deque()
        self._begun: deque[_Entry] = deque()  # handed over whole; a part waits for the socket
        self._last: _Entry | None = None
        self.is_far = False
        self._pace, self._sent_before = Pace(is_far=False), 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def post(self, call: int, encoded: bytes, buffers: Sequence[Buffer], size: int) -> threading.Event:
        """Put a frame at the end; return what tells that it has left."""
        entry = self._last = _Entry(call, encoded, buffers, size)
        self._waiting.append(entry)
        return entry.left

    def progress(self, call: int) -> tuple[int, int] | None:
        """Return how many bytes of a call's frame have left, and how many it has; None when it is not on its way."""
        entry = self._last
        if entry is None or entry.call != call or entry.left.is_set():
            return None
        handed_over = entry.size if entry not in self._waiting else 0
        done = entry.outgoing.done if entry.outgoing is not None else handed_over
        return max(0, done - self._frames.bytes_unsent), entry.size

    def pump(self) -> bool:
        """Hand over as much as goes; True when the socket has to become writable first.

        Raises:
            OSError: the connection is gone.
        """
        while self._waiting:
            entry = self._waiting[0]
            if self._frames.is_closed:
                self._waiting.popleft().left.set()
                continue
            if self._transfers is not None and entry.outgoing is None:
                entry.outgoing = self._transfers.outgoing(entry.encoded, entry.buffers)
                self._pace, self._sent_before = Pace(is_far=self.is_far), self._frames.bytes_sent
            if entry.outgoing is not None:
                self._go_on(entry.outgoing, entry.call)
                if self._frames.has_unsent or entry.outgoing.is_waiting:
                    break
            else:
                self._frames.send(entry.call, entry.encoded, entry.buffers)
            self._waiting.popleft()
            if self._frames.has_unsent:
                self._begun.append(entry)
            else:
                entry.left.set()
        return self._frames.has_unsent

    def _go_on(self, outgoing: Outgoing, call: int) -> None:
        """Hand over as much of a transfer as goes."""
        while not self._frames.has_unsent and (step := outgoing.next()) is not None:
            outgoing.is_packing = self._pace.is_slow(self._frames.bytes_sent - self._sent_before)
            self._frames.send(call, *step)

    def flushed(self) -> None:
        """Nothing waits for the socket any more."""
        while self._begun:
            self._begun.popleft().left.set()

    def drop(self) -> None:
        """Nothing will be sent any more."""
        self.flushed()
        while self._waiting:
            self._waiting.popleft().left.set()
