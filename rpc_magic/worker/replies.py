"""What calls by name, and tasks of the engine, answer their client, whatever connection carries it.

The rules are those of a session's data connection (protocol page, section 7), with outcomes only: they are numbered,
and kept in memory until the client has acknowledged them. A client that comes back is sent what it lacks. One that has
not come back after a stated time is forgotten, and so is at once one that says that it leaves.
"""

from __future__ import annotations

import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from rpc_magic.settings import WireLimits
from rpc_magic.transport import FrameSocket
from rpc_magic.wire import messages
from rpc_magic.wire.chunks import LARGE
from rpc_magic.wire.frames import Buffer, Frame
from rpc_magic.worker.cutting import encode_fitting

__all__ = ["Replies"]


class _Kept(NamedTuple):
    number: int
    call: int
    encoded: bytes
    buffers: Sequence[Buffer]


class Replies:
    """See the module's text. Thread-safe; one thread at a time reads.

    Args:
        client: names the client.
        limits: of what a connection brings.
        is_begun: it may go on from its beginning, as one does of whose earlier connections none has come here.

    Attributes:
        channel: the connection, while there is one.
        lost_at: when the last one was lost, in seconds of `time.monotonic`.
    """

    def __init__(self, client: bytes, limits: WireLimits, *, is_begun: bool = False) -> None:
        self.client, self._limits = client, limits
        self._lock = threading.Lock()
        self._kept: deque[_Kept] = deque()
        self._number = self._taken = 0
        self._is_begun = is_begun
        self._is_live = False  # some refer to objects that may change
        self.channel: FrameSocket | None = None
        self.lost_at = time.monotonic()

    def adopt(self, sock: socket.socket, resume: int) -> FrameSocket:
        """Speak on this connection from now on; an earlier one has been lost. Whoever reads.

        Args:
            sock: the connection.
            resume: number of the outcome that it is due to get; 0 for the client's first connection.

        Returns:
            The connection, on which something may wait to be sent.
        """
        is_known, self._is_begun = self._is_begun and bool(resume), True
        with self._lock:
            self._drop(resume - 1)
            channel = self.channel = FrameSocket(sock, self._limits, None, self._taken)
            try:
                if resume:
                    channel.send(0, messages.encode(messages.Resumed(is_known)), number=0)
                for one in self._kept:
                    channel.send(one.call, one.encoded, one.buffers, number=one.number)
            except OSError:
                pass  # whoever reads it finds it gone
        return channel

    def lose(self) -> FrameSocket | None:
        """Speak on the connection no more; return it, to be closed. Nobody may be reading."""
        with self._lock:
            channel, self.channel = self.channel, None
            if channel is not None:
                self._taken, self.lost_at = channel.last_seq, time.monotonic()
        self.settle()
        return channel

    def read(self) -> list[Frame]:
        """Return what has come; acknowledge what is large, for the client holds it until then.

        Raises:
            EOFError, OSError: the connection is gone.
            ProtocolError: what came is no frame.
        """
        channel = self.channel
        if channel is None:
            return []
        frames = channel.read()
        for frame in frames:
            if self._kept and self._kept[0].number <= frame.ack:
                with self._lock:
                    self._drop(frame.ack)
            if frame.buffers and sum(map(len, frame.buffers)) >= LARGE:
                channel.send(0, messages.ACKNOWLEDGE, number=0)
        return frames

    def send(self, call: int, outcome: messages.Outcome, buffers: Sequence[Buffer] = ()) -> bool:
        """Send an outcome, or keep it until the client is back; False when some of it waits on the connection."""
        encoded = encode_fitting(outcome)
        with self._lock:
            self._number += 1
            self._kept.append(_Kept(self._number, call, encoded, buffers))
            self._is_live = self._is_live or bool(buffers)
            if self.channel is None:
                return True
            try:
                return self.channel.send(call, encoded, buffers, number=self._number)
            except OSError:
                return True  # whoever reads it finds it gone

    def settle(self) -> None:
        """Let nothing that is kept, or waits on the connection, refer to what a program may change."""
        if self._is_live:
            with self._lock:
                self._is_live = False
                for place, one in enumerate(self._kept):
                    owned = [b if type(b) is bytes else bytes(b) for b in one.buffers]
                    self._kept[place] = one._replace(buffers=owned)
                if self.channel is not None:
                    self.channel.own_unsent()

    def _drop(self, number: int) -> None:
        while self._kept and self._kept[0].number <= number:
            self._kept.popleft()
        self._is_live = self._is_live and bool(self._kept)
