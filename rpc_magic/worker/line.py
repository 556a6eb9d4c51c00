"""The session's end of what it says to its client, whatever connection carries it (protocol page, section 7).

Theory of operation. Every message is numbered and kept until the client has acknowledged it. While the client is
there, the messages are kept in memory: it acknowledges soon, and a connection that is full holds up whoever sends, so
there are never many. When the connection breaks they go to the session's spool, and so does what comes while nobody is
there. A client that comes back is sent what it lacks by a thread; until that is done, new messages line up in the spool
behind the old ones.

Buffers of an outcome belong to living objects and are not copied as long as nothing can change them: `settle`, called
before user code runs again, copies what is not yet acknowledged.

When the spool is full, or its disk, the middle of the output is dropped: what was said first is in the spool, what was
said last is held in memory, and a mark between the two says how much is missing. What ends a call is never dropped.

`_lock` is held while a message is numbered, kept and handed to the connection, so that the numbers rise in the order
of the wire. Nothing waits for the client while it is held.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Callable, Sequence

from rpc_magic.settings import WorkerSettings
from rpc_magic.wire import messages
from rpc_magic.wire.chunks import LARGE
from rpc_magic.wire.frames import Buffer
from rpc_magic.wire.transfers import Step
from rpc_magic.worker.cutting import encode_fitting
from rpc_magic.worker.datachannel import Chunks, DataChannel
from rpc_magic.worker.leftcalls import CALLS, LeftCalls, Said
from rpc_magic.worker.spool import Place, Spool

__all__ = ["Line"]

_PIECE = 1 << 22
"""Characters of text that leave in one message."""


class _Entry:
    """A message that the client has not acknowledged; a mark has `dropped`, the bytes it stands for."""

    __slots__ = ("buffers", "call", "dropped", "encoded", "is_end", "is_output", "number", "place")

    def __init__(
        self, number: int, call: int, encoded: bytes, buffers: Sequence[Buffer], *, is_output: bool
    ) -> None:
        self.number, self.call, self.encoded, self.buffers = number, call, encoded, buffers
        self.is_output, self.is_end = is_output, False
        self.place: Place | None = None
        self.dropped = 0

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return len(self.encoded) + sum(map(len, self.buffers))


class Line:
    """See the module's text. Thread-safe.

    Args:
        spool: the session's.
        chunks: the session's.
        settings: limits.
        on_lost: called when a connection is found to be gone, by whoever finds it.

    Attributes:
        channel: the connection, while there is one.
        calls: the numbers of calls, and those whose client has gone.
    """

    def __init__(
        self, spool: Spool, chunks: Chunks, settings: WorkerSettings, on_lost: Callable[[DataChannel], None]
    ) -> None:
        self._spool, self._chunks, self._settings, self._on_lost = spool, chunks, settings, on_lost
        self._lock = threading.Lock()
        self._kept: deque[_Entry] = deque()
        self._tail: deque[_Entry] = deque()  # after `_kept`, once the spool is full
        self._tail_bytes = 0
        self._rest: deque[_Entry] = deque()  # has to be sent before anything new
        self._live: _Entry | None = None  # refers to objects of the session
        self._number = 0
        self._client = b""
        self._last: DataChannel | None = None  # of this client
        self.channel: DataChannel | None = None
        self._is_far = False
        self.calls = LeftCalls(settings.last_output)

    # ------------------------------------------------------------ connections

    def adopt(self, sock: socket.socket, client: bytes, resume: int) -> bool:
        """Speak on this connection from now on. Nobody may be reading.

        Args:
            sock: the connection.
            client: names the client.
            resume: number of the message that it is due to get; 0 when it begins anew.

        Returns:
            Whether it goes on where an earlier one broke.
        """
        is_known = bool(resume) and client == self._client
        last = self._last.last_seq if is_known and self._last is not None else 0
        channel = DataChannel(sock, self._chunks, last)
        with self._lock:
            self._fold_tail()
            if is_known:
                self._drop(resume - 1)
            else:
                for entry in self._kept:
                    self._to_spool(entry)
                self._live = None
                self._release(self.calls.leave(list(self._kept)))
                self._kept.clear()
                self._number = 0
            self._client, self._last, self.channel = client, channel, channel
            self._rest = deque(self._kept)
            channel.is_far = self._is_far and is_known
            if resume:
                self._hand_over(channel, 0, messages.encode(messages.Resumed(is_known)), (), 0, 0)
        if self._rest:
            threading.Thread(
                target=self._catch_up, args=(channel,), name="rpc_magic replay", daemon=True
            ).start()
        self._warn()
        return is_known

    def _warn(self) -> None:
        """Tell the client that is there again what it could not be kept for."""
        trouble, self._spool.trouble = self._spool.trouble, ""
        if trouble:
            text = (
                f"rpc_magic: the session's spool file cannot be written there: {trouble}. What came while no client "
                "was connected was kept in memory; make room on that disk before the next cut.\n"
            )
            self.send(0, messages.Stream("stderr", text))

    def lose(self, channel: DataChannel, *, is_broken: bool = False) -> None:
        """The connection is gone; with `is_broken` it broke the protocol, and nobody may go on where it was."""
        with self._lock:
            if is_broken and self._last is channel:
                self._client = b""
            self._lose(channel)

    def _lose(self, channel: DataChannel) -> None:
        if self.channel is channel:
            self.channel = None
            self._rest.clear()
            for entry in self._kept:
                self._to_spool(entry)
            self._on_lost(channel)

    def _catch_up(self, channel: DataChannel) -> None:
        """Send what the client lacks, and what comes meanwhile."""
        while True:
            with self._lock:
                if self.channel is not channel or not self._rest:
                    return
                entry = self._rest[0]
                encoded, buffers = self._content(entry)
                is_sent = self._hand_over(channel, entry.call, encoded, buffers, 0, entry.number)
                if self._rest:
                    self._rest.popleft()
            if not is_sent:
                self._flush(channel)

    def note_far(self, *, is_far: bool) -> None:
        """The client has said whether it is far away."""
        self._is_far = is_far
        if self.channel is not None:
            self.channel.is_far = is_far

    # ------------------------------------------------------------ messages

    def send(self, call: int, message: messages.Message, buffers: Sequence[Buffer] = ()) -> None:
        """Send a message; wait while the connection is full."""
        if isinstance(message, messages.Stream) and len(message.text) > _PIECE:
            for start in range(0, len(message.text), _PIECE):
                self.send(call, messages.Stream(message.name, message.text[start : start + _PIECE]))
            return
        owned = [b if type(b) is bytes else bytes(b) for b in buffers] if buffers else ()
        is_output = isinstance(message, messages.Output) and not isinstance(message, messages.InputRequest)
        encoded = encode_fitting(message)
        with self._lock:
            channel = self.channel
            number = self.calls.outside(call)
            if number is None:
                self._leave(call, encoded, owned, is_output=is_output)
                return
            entry = self._keep(number, encoded, owned, is_output=is_output)
            if channel is None or self._rest:
                return
            is_sent = self._hand_over(channel, number, encoded, owned, 0, entry.number)
        if not is_sent:
            self._flush(channel)

    def end(
        self, call: int, outcome: messages.Outcome, buffers: Sequence[Buffer], read: Callable[[], object]
    ) -> None:
        """Send what ends a call, however long that takes; see `DataChannel.send_chunks`. Main thread only."""
        encoded = encode_fitting(outcome)
        for buffer in buffers:
            if len(buffer) >= LARGE:
                channel, number = self.channel, self.calls.outside(call)
                if channel is not None and number is not None and not self._rest:
                    self._end_in_chunks(channel, call, number, encoded, buffers, read)
                    return
                break
        self._send_end(call, encoded, buffers, buffers, 0, None)

    def _end_in_chunks(
        self,
        channel: DataChannel,
        call: int,
        number: int,
        encoded: bytes,
        buffers: Sequence[Buffer],
        read: Callable[[], object],
    ) -> None:
        is_kept = False

        def send(step: Step) -> None:
            nonlocal is_kept
            is_kept = self._send_end(call, encoded, buffers, step.buffers, step.transfer, channel)
            if not is_kept:
                raise OSError("another connection has taken its place")

        try:
            channel.send_chunks(number, encoded, buffers, send, read)
        except (OSError, ValueError):
            self.lose(channel)
        if not is_kept:
            self._send_end(call, encoded, buffers, buffers, 0, None)

    def _send_end(
        self,
        call: int,
        encoded: bytes,
        buffers: Sequence[Buffer],
        rest: Sequence[Buffer],
        transfer: int,
        wanted: DataChannel | None,
    ) -> bool:
        """Send the frame of an outcome, on the `wanted` connection or none; False when that is not there.

        `rest` are the buffers that `transfer` has not brought.
        """
        with self._lock:
            channel = self.channel
            if wanted is not None and channel is not wanted:
                return False
            number = self.calls.outside(call)
            if number is None:
                self._leave(call, encoded, buffers, is_output=False, is_end=True)
                return True
            entry = self._keep(number, encoded, buffers, is_output=False)
            entry.is_end = True
            if channel is None or self._rest:
                return True
            is_sent = self._hand_over(channel, number, encoded, rest, transfer, entry.number)
            for buffer in buffers:
                if type(buffer) is not bytes:
                    self._live = entry
                    break
        if not is_sent:
            self._flush(channel)
        return True

    def acknowledge(self, number: int) -> None:
        """The client has received everything up to this number."""
        kept = self._kept
        if kept and kept[0].number <= number:
            with self._lock:
                self._drop(number)

    def open(self, call: int, request: messages.Message) -> int:
        """Whoever reads: the client has sent a request; return the number of its call in the session."""
        if type(request) not in CALLS:
            return self.calls.inside(call)
        with self._lock:
            inside = self.calls.inside(call)
            self.calls.open(inside, request)
            return inside

    def follow(self, call: int, number: int) -> bool:
        """Whoever reads: give the client's `call` what a call says whose client has gone; False when there is none."""
        with self._lock:
            left = self.calls.follow(number, call)
            if left is None:
                return False
            said, dropped = left.kept.take()
            if dropped:
                mark = _Entry(0, call, b"", (), is_output=False)
                mark.dropped = dropped
                said.insert(0, mark)
            for one in said:
                assert isinstance(one, _Entry)
                encoded, buffers = self._content(one)
                self._release([one])
                entry = self._keep(call, encoded, buffers, is_output=one.is_output)
                entry.is_end = one.is_end
                if self.channel is not None and not self._rest:
                    self._hand_over(self.channel, call, encoded, buffers, 0, entry.number)
            channel = self.channel
        if channel is not None:
            self._flush(channel)
        return True

    def settle(self) -> None:
        """Before user code runs: let nothing that is kept refer to what it may change."""
        if self._live is not None:
            with self._lock:
                entry, self._live = self._live, None
                if entry is None or entry.place is not None:
                    return
                if entry.size > self._settings.unacknowledged:
                    self._to_spool(entry)
                else:
                    entry.buffers = [bytes(buffer) for buffer in entry.buffers]

    # ------------------------------------------------------------ inside, the lock is held

    def _hand_over(
        self,
        channel: DataChannel,
        call: int,
        encoded: bytes,
        buffers: Sequence[Buffer],
        transfer: int,
        number: int,
    ) -> bool:
        """Give a message to the connection; False when some of it waits there."""
        try:
            return channel.send(call, encoded, buffers, transfer, number)
        except (OSError, ValueError):
            self._lose(channel)
            return True

    def _flush(self, channel: DataChannel) -> None:
        """The lock is not held."""
        try:
            channel.flush_all()
        except (OSError, ValueError):
            self.lose(channel)

    def _keep(self, call: int, encoded: bytes, buffers: Sequence[Buffer], *, is_output: bool) -> _Entry:
        number = self._number = self._number + 1
        entry = _Entry(number, call, encoded, buffers, is_output=is_output)
        if self.channel is not None and not self._rest:  # most messages
            self._kept.append(entry)
            return entry
        if not self._tail and self._to_spool(entry):
            self._kept.append(entry)
        else:
            self._keep_last(entry)
        if self._rest:
            self._rest.append(entry)
        return entry

    def _to_spool(self, entry: _Entry) -> bool:
        """Move a message to the spool; False when that is full. It then stays in memory, and is the line's own."""
        if entry.place is not None or entry.dropped:
            return True
        entry.place = self._spool.write(
            entry.call, entry.number, entry.encoded, entry.buffers, is_output=entry.is_output
        )
        if entry.place is not None:
            entry.encoded, entry.buffers = b"", ()
        else:
            entry.buffers = [bytes(buffer) for buffer in entry.buffers]
        return entry.place is not None

    def _keep_last(self, entry: _Entry) -> None:
        """Keep a message though the spool is full: of the output, only the last."""
        if not entry.is_output:
            self._to_spool(entry)
        self._tail.append(entry)
        self._tail_bytes += entry.size
        while self._tail_bytes > self._settings.last_output and len(self._tail) > 1:
            first = self._tail.popleft()
            self._tail_bytes -= first.size
            if first.is_output:
                self._mark(first)
            else:
                self._kept.append(first)

    def _mark(self, gone: _Entry) -> None:
        mark = self._kept[-1] if self._kept else None
        if mark is None or not mark.dropped or mark.call != gone.call:
            mark = _Entry(gone.number, gone.call, b"", (), is_output=False)
            self._kept.append(mark)
        mark.number = gone.number
        mark.dropped += gone.size

    def _fold_tail(self) -> None:
        self._kept.extend(self._tail)
        self._tail.clear()
        self._tail_bytes = 0

    def _content(self, entry: _Entry) -> tuple[bytes, Sequence[Buffer]]:
        if entry.dropped:
            text = f"\n[{entry.dropped:,} bytes of output were dropped here while no client was connected]\n"
            return messages.encode(messages.Stream("stderr", text)), ()
        if entry.place is None:
            return entry.encoded, entry.buffers
        frame = self._spool.read(entry.place)
        return frame.message, frame.buffers

    def _drop(self, number: int) -> None:
        for entries in (self._kept, self._tail):
            while entries and entries[0].number <= number:
                entry = entries.popleft()
                if entry is self._live:
                    self._live = None
                if not entry.is_end:
                    self._release(self.calls.note_received(entry))
                    continue
                if unused := self.calls.close(entry.call):
                    self._release(unused)
                if entry.place is not None:
                    self._spool.release()

    def _release(self, unused: Sequence[Said]) -> None:
        for said in unused:
            assert isinstance(said, _Entry)
            if said.place is not None:
                self._spool.release()

    def _leave(
        self, call: int, encoded: bytes, buffers: Sequence[Buffer], *, is_output: bool, is_end: bool = False
    ) -> None:
        """Keep what a call says whose client has gone."""
        entry = _Entry(0, call, encoded, buffers, is_output=is_output)
        entry.is_end = is_end
        self._to_spool(entry)
        self._release(self.calls.say(call, entry))
