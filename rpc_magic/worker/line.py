"""The session's end of what it says to its client, whatever connection carries it (protocol page, section 7).

Theory of operation. Every message is numbered and kept until the client has acknowledged it. While the client is
there, the messages are kept in memory: it acknowledges soon, and a connection that is full holds up whoever sends, so
there are never many. When the connection breaks they go to the session's spool, and so does what comes while nobody is
there. A client that comes back is sent what it lacks by a thread; until that is done, new messages line up in the spool
behind the old ones.

Buffers of an outcome belong to living objects and are not copied as long as nothing can change them: `settle`, called
before user code runs again, copies what is not yet acknowledged.

How messages are kept is `rpc_magic.worker.backlog`'s business.

`_lock` is held while a message is numbered, kept and handed to the connection, so that the numbers rise in the order
of the wire. Nothing waits for the client while it is held.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Sequence

from rpc_magic.settings import WorkerSettings
from rpc_magic.wire import messages
from rpc_magic.wire.chunks import LARGE
from rpc_magic.wire.frames import Buffer
from rpc_magic.wire.transfers import Step
from rpc_magic.worker.backlog import Backlog, Entry
from rpc_magic.worker.cutting import encode_fitting
from rpc_magic.worker.datachannel import Chunks, DataChannel
from rpc_magic.worker.inheriting import inherit
from rpc_magic.worker.leftcalls import CALLS
from rpc_magic.worker.spool import Spool

__all__ = ["Line"]

_PIECE = 1 << 22
"""Characters of text that leave in one message."""


class Line:
    """See the module's text. Thread-safe.

    Args:
        spool: the session's.
        chunks: the session's.
        settings: limits.
        on_lost: called when a connection is found to be gone, by whoever finds it.
        is_stopped: tells whether an interrupt waits for the main thread to have sent what it shows; it does not go on
            waiting for a client that does not read then.
        read: takes in what has come; any thread.

    Attributes:
        channel: the connection, while there is one.
        calls: the numbers of calls, and those whose client has gone.
    """

    def __init__(
        self,
        spool: Spool,
        chunks: Chunks,
        settings: WorkerSettings,
        on_lost: Callable[[DataChannel], None],
        is_stopped: Callable[[], bool] = bool,
        read: Callable[[], object] = bool,
    ) -> None:
        self._read = read
        self._chunks, self._on_lost, self._is_stopped = chunks, on_lost, is_stopped
        self._lock = threading.Lock()
        self._backlog = Backlog(spool, settings)
        self.calls = self._backlog.calls
        self._client = b""
        self._seen: set[bytes] = set()  # all clients so far
        self._last: DataChannel | None = None  # of this client
        self.channel: DataChannel | None = None
        self._is_far = False

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
        # Its first connection was lost before it came here, as when the supervisor was killed: nothing of it has run.
        is_unseen = resume == 1 and client not in self._seen
        channel = DataChannel(sock, self._chunks, self._last if is_known else None)
        with self._lock:
            if is_known:
                self._backlog.resume(resume - 1)
            else:
                self._backlog.begin_anew()
            self._client, self._last, self.channel = client, channel, channel
            self._seen.add(client)
            channel.is_far = self._is_far and is_known
            if resume:
                self._hand_over(
                    channel, 0, messages.encode(messages.Resumed(is_known or is_unseen)), (), 0, 0
                )
        if self._backlog.rest:
            threading.Thread(
                target=self._catch_up, args=(channel,), name="rpc_magic replay", daemon=True
            ).start()
        self._warn()
        return is_known

    def _warn(self) -> None:
        """Tell the client that is there again what it could not be kept for."""
        trouble = self._backlog.take_trouble()
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
        channel.is_lost = True
        if self.channel is channel:
            self.channel = None
            self._backlog.rest.clear()
            self._backlog.to_spool()
            self._on_lost(channel)

    def _catch_up(self, channel: DataChannel) -> None:
        """Send what the client lacks, and what comes meanwhile."""
        backlog = self._backlog
        while True:
            with self._lock:
                if self.channel is not channel or not backlog.rest:
                    return
                entry = backlog.rest[0]
                encoded, buffers = backlog.content(entry)
                is_large = any(len(buffer) >= LARGE for buffer in buffers)
                is_sent = is_large or self._hand_over(channel, entry.call, encoded, buffers, 0, entry.number)
                if backlog.rest and not is_large:
                    backlog.rest.popleft()
            if is_large:
                self._send_again(channel, entry, encoded, buffers)
            elif not is_sent:
                self._flush(channel)

    def _send_again(
        self, channel: DataChannel, entry: Entry, encoded: bytes, buffers: Sequence[Buffer]
    ) -> None:
        """Send the first of the rest in chunks: on a connection that breaks often some of them come each time."""

        def send(step: Step) -> None:
            if not channel.send(entry.call, encoded, step.buffers, step.transfer, entry.number):
                channel.flush_all()

        try:
            channel.send_chunks(entry.call, encoded, buffers, send, self._read)
        except (OSError, ValueError):
            self.lose(channel)
        with self._lock:
            if self.channel is channel and self._backlog.rest:
                self._backlog.rest.popleft()

    def miss(self, client: bytes) -> None:
        """The client has not been heard of for long: hold nothing up for it, and keep what it may not have received."""
        channel = self.channel
        if channel is not None and client == self._client:
            channel.hang_up()
            self.lose(channel)

    @property
    def owes_receipt(self) -> bool:
        """The client that is there has not acknowledged the end of a call."""
        return self.channel is not None and any(entry.is_end for entry in list(self._backlog.kept))

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
                self._backlog.leave(call, encoded, owned, is_output=is_output)
                return
            is_open = channel is not None and not self._backlog.rest
            entry = self._backlog.keep(number, encoded, owned, is_output=is_output, is_sent=is_open)
            if channel is None or not is_open:
                return
            is_sent = self._hand_over(channel, number, encoded, owned, 0, entry.number)
        if not is_sent:
            self._flush(channel, self._is_stopped)

    def end(
        self, call: int, outcome: messages.Outcome, buffers: Sequence[Buffer], read: Callable[[], object]
    ) -> None:
        """Send what ends a call, however long that takes; see `DataChannel.send_chunks`. Main thread only."""
        encoded = encode_fitting(outcome)
        for buffer in buffers:
            if len(buffer) >= LARGE:
                channel, number = self.channel, self.calls.outside(call)
                if channel is not None and number is not None and not self._backlog.rest:
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
                self._backlog.leave(call, encoded, buffers, is_output=False, is_end=True)
                return True
            is_open = channel is not None and not self._backlog.rest
            entry = self._backlog.keep(number, encoded, buffers, is_output=False, is_sent=is_open)
            entry.is_end = True
            if channel is None or not is_open:
                return True
            is_sent = self._hand_over(channel, number, encoded, rest, transfer, entry.number)
            for buffer in buffers:
                if type(buffer) is not bytes:
                    self._backlog.live = entry
                    break
        if not is_sent:
            self._flush(channel)
        return True

    def acknowledge(self, number: int) -> None:
        """The client has received everything up to this number."""
        kept = self._backlog.kept
        if kept and kept[0].number <= number:
            with self._lock:
                self._backlog.drop(number)

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
            said = self._backlog.follow(call, number)
            if said is None:
                return False
            for one in said:
                is_open = self.channel is not None and not self._backlog.rest
                entry = self._backlog.keep(
                    call, one.encoded, one.buffers, is_output=one.is_output, is_sent=is_open
                )
                entry.is_end = one.is_end
                if self.channel is not None and is_open:
                    self._hand_over(self.channel, call, one.encoded, one.buffers, 0, entry.number)
            channel = self.channel
        if channel is not None:
            self._flush(channel)
        return True

    def ended(self) -> list[tuple[str, list[tuple[bytes, Sequence[Buffer]]]]]:
        """The session ends: return what the calls that have ended have said and nobody has received."""
        with self._lock:
            self._backlog.begin_anew()  # nobody comes back to this session
            return self._backlog.ended()

    def readmit(self, label: str, said: Sequence[tuple[messages.Message, bytes, Sequence[Buffer]]]) -> None:
        """Take in what `ended` has given in an earlier session."""
        with self._lock:
            self._backlog.readmit(label, said)

    def inherit(self, spool: int, death: tuple[messages.Failed, Sequence[Buffer]]) -> None:
        """Take over the calls of a session that has died; see `rpc_magic.worker.inheriting.inherit`."""
        with self._lock:
            inherit(self._backlog, spool, death)

    def settle(self) -> None:
        """Before user code runs: let nothing that is kept refer to what it may change."""
        if self._backlog.live is not None:
            with self._lock:
                self._backlog.settle()

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

    def _flush(self, channel: DataChannel, is_given_up: Callable[[], bool] | None = None) -> None:
        """The lock is not held."""
        try:
            channel.flush_all(is_given_up)
        except (OSError, ValueError):
            self.lose(channel)
