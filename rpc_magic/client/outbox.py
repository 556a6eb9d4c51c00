"""Large frames on their way out: the I/O thread sends them one after the other, their large buffers in chunks ahead.

While one waits here, everything else that is sent on the link waits behind it, so that the order of requests is kept.
A frame is done when the other side has acknowledged it (`ResumableLink` says so).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence

from rpc_magic.transport import FrameSocket
from rpc_magic.transport.pace import Pace
from rpc_magic.wire.chunks import LARGE
from rpc_magic.wire.frames import Buffer
from rpc_magic.wire.transfers import Outgoing, Transfers

__all__ = ["Entry", "Outbox"]


class Entry:
    """A frame that is sent.

    Attributes:
        number: as in `FrameSocket.send`.
        call, encoded, buffers: call, message and objects. Of a frame that is not large they are copies.
        size: bytes of the buffers.
        done: set when its buffers are of no further use, so that their owner may change them; None for copies.
        outgoing: its transfer, once that has begun.
    """

    __slots__ = ("buffers", "call", "done", "encoded", "number", "outgoing", "size")

    def __init__(self, number: int, call: int, encoded: bytes, buffers: Sequence[Buffer], size: int) -> None:
        self.number, self.call, self.encoded, self.buffers, self.size = number, call, encoded, buffers, size
        self.done: threading.Event | None = None
        self.outgoing: Outgoing | None = None
        if size >= LARGE:
            self.done = threading.Event()
        elif size:
            self.buffers = [b if type(b) is bytes else bytes(b) for b in buffers]

    def finish(self) -> None:
        """Its buffers are of no further use."""
        self.buffers = ()
        if self.done is not None:
            self.done.set()


class Outbox:
    """See the module's text. `pump` and `drop` are called by the I/O thread only, `post` by any.

    Args:
        frames: the connection.
        transfers: sends large buffers in chunks; None sends them with their frames.

    Attributes:
        is_far: the other side is far away: what goes slowly is compressed.
    """

    def __init__(self, frames: FrameSocket, transfers: Transfers | None, *, is_far: bool = False) -> None:
        self._frames, self._transfers = frames, transfers
        self._waiting: deque[Entry] = deque()
        self._last: Entry | None = None
        self.is_far = is_far
        self._pace, self._sent_before = Pace(is_far=False), 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def post(self, entry: Entry) -> None:
        """Put a frame at the end; one that was on its way on an earlier connection begins anew."""
        entry.outgoing = None
        self._last = entry
        self._waiting.append(entry)

    def progress(self, call: int) -> tuple[int, int] | None:
        """Return how many bytes of a call's frame have left, and how many it has; None when it is not on its way."""
        entry = self._last
        if entry is None or entry.call != call or entry.done is None or entry.done.is_set():
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
                self._waiting.popleft()
                continue
            if self._transfers is not None and entry.outgoing is None:
                entry.outgoing = self._transfers.outgoing(entry.encoded, entry.buffers)
                self._pace, self._sent_before = Pace(is_far=self.is_far), self._frames.bytes_sent
            if entry.outgoing is not None:
                self._go_on(entry, entry.outgoing)
                if self._frames.has_unsent or entry.outgoing.is_waiting:
                    break
            else:
                self._frames.send(entry.call, entry.encoded, entry.buffers, number=entry.number)
            self._waiting.popleft()
        return self._frames.has_unsent

    def _go_on(self, entry: Entry, outgoing: Outgoing) -> None:
        """Hand over as much of a transfer as goes; its last frame has the entry's number."""
        while not self._frames.has_unsent and (step := outgoing.next()) is not None:
            outgoing.is_packing = self._pace.is_slow(self._frames.bytes_sent - self._sent_before)
            self._frames.send(entry.call, *step, number=entry.number if step.transfer else 0)

    def drop(self) -> None:
        """Nothing will be sent any more."""
        self._waiting.clear()
