"""What a session has said and its client has not acknowledged (protocol page, section 7).

While the client is there, messages are kept in memory: it acknowledges soon. What comes while nobody is there goes to
the session's spool. When the spool is full, or its disk, the middle of the output is dropped: what was said first is
in the spool, what was said last is held in memory, and a mark between the two says how much is missing. What ends a
call is never dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from rpc_magic.settings import WorkerSettings
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.worker.leftcalls import LeftCalls, Said
from rpc_magic.worker.spool import Place, Spool

__all__ = ["Backlog", "Entry"]


class Entry:
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


class Backlog:
    """See the module's text. Not thread-safe.

    Args:
        spool: the session's.
        settings: limits.

    Attributes:
        calls: the numbers of calls, and those whose client has gone.
        kept: the messages, in order; the last ones of a full spool come after them.
        rest: those that a client which has come back has to be sent before anything new.
        live: the one that refers to objects of the session.
    """

    def __init__(self, spool: Spool, settings: WorkerSettings) -> None:
        self._spool, self._settings = spool, settings
        self.calls = LeftCalls(settings.last_output)
        self.kept: deque[Entry] = deque()
        self.rest: deque[Entry] = deque()
        self.live: Entry | None = None
        self._tail: deque[Entry] = deque()  # after `kept`, once the spool is full
        self._tail_bytes = 0
        self._number = 0

    def resume(self, acknowledged: int) -> None:
        """The client is back, and has everything up to this number: the rest has to be sent."""
        self._fold_tail()
        self.drop(acknowledged)
        self.rest = deque(self.kept)

    def begin_anew(self) -> None:
        """Another client is there: what is kept belongs to calls whose client has gone."""
        self._fold_tail()
        self.to_spool()
        self.live = None
        self._release(self.calls.leave(list(self.kept)))
        self.list_calls()
        self.kept.clear()
        self.rest = deque()
        self._number = 0

    def keep(
        self, call: int, encoded: bytes, buffers: Sequence[Buffer], *, is_output: bool, is_sent: bool
    ) -> Entry:
        """Number and keep a message; with `is_sent`, it is about to be given to the connection."""
        number = self._number = self._number + 1
        entry = Entry(number, call, encoded, buffers, is_output=is_output)
        if is_sent:  # most messages
            self.kept.append(entry)
            return entry
        if not self._tail and self._to_spool(entry):
            self.kept.append(entry)
        else:
            self._keep_last(entry)
        if self.rest:
            self.rest.append(entry)
        return entry

    def leave(
        self, call: int, encoded: bytes, buffers: Sequence[Buffer], *, is_output: bool, is_end: bool = False
    ) -> None:
        """Keep what a call says whose client has gone."""
        entry = Entry(0, call, encoded, buffers, is_output=is_output)
        entry.is_end = is_end
        self._to_spool(entry)
        self._release(self.calls.say(call, entry))

    def follow(self, call: int, number: int) -> Iterator[Entry] | None:
        """Return what a call has said whose client has gone, as messages of `call`; None when there is none.

        They are not kept for `call`, and each is forgotten with the next one.
        """
        left = self.calls.follow(number, call)
        if left is None:
            return None
        said, dropped = left.kept.take()
        if dropped:
            mark = Entry(0, call, b"", (), is_output=False)
            mark.dropped = dropped
            said.insert(0, mark)
        return self._followed(said)

    def _followed(self, said: list[Said]) -> Iterator[Entry]:
        for one in said:
            assert isinstance(one, Entry)
            encoded, buffers = self.content(one)
            self._release([one])
            entry = Entry(0, one.call, encoded, buffers, is_output=one.is_output)
            entry.is_end = one.is_end
            yield entry

    def drop(self, number: int) -> None:
        """The client has everything up to this number."""
        for entries in (self.kept, self._tail):
            while entries and entries[0].number <= number:
                entry = entries.popleft()
                if entries is self._tail:
                    self._tail_bytes -= entry.size * entry.is_output
                if entry is self.live:
                    self.live = None
                if not entry.is_end:
                    self._release(self.calls.note_received(entry))
                    continue
                if unused := self.calls.close(entry.call):
                    self._release(unused)
                self._release([entry])

    def to_spool(self) -> None:
        """Nobody is there: move to the spool what is in memory, for a time after the session's death too."""
        for said in self.calls.shown():
            assert isinstance(said, Entry)
            self._to_spool(said)
        for entry in self.kept:
            self._to_spool(entry)
        self.list_calls()

    def list_calls(self) -> None:
        """Write down which calls what is in the spool belongs to; see `rpc_magic.wire.spooled`."""
        calls = self.calls.all()
        if calls or self._spool.wanted:
            self._spool.note(self.calls.base, messages.encode(messages.CallList(calls)))
        else:
            self._spool.empty()  # an earlier client's list must not stand before what this one is told

    def settle(self) -> None:
        """Let nothing that is kept refer to what user code may change."""
        entry, self.live = self.live, None
        if entry is None or entry.place is not None:
            return
        if entry.size > self._settings.unacknowledged:
            self._to_spool(entry)
        else:
            entry.buffers = [bytes(buffer) for buffer in entry.buffers]

    def content(self, entry: Entry) -> tuple[bytes, Sequence[Buffer]]:
        """Return a message and its buffers, wherever they are kept."""
        if entry.dropped:
            text = f"\n[{entry.dropped:,} bytes of output were dropped here while no client was connected]\n"
            return messages.encode(messages.Stream("stderr", text)), ()
        if entry.place is None:
            return entry.encoded, entry.buffers
        frame = self._spool.read(entry.place)
        return frame.message, frame.buffers

    def ended(self) -> list[tuple[str, list[tuple[bytes, Sequence[Buffer]]]]]:
        """Return the calls that have ended for nobody: what tells which one it was, and what it has said."""
        return [
            (left.label, [self.content(one) for one in left.kept.said if isinstance(one, Entry)])
            for left in self.calls.ended()
        ]

    def readmit(self, label: str, said: Sequence[tuple[messages.Message, bytes, Sequence[Buffer]]]) -> None:
        """Take in a call that `ended` has given in an earlier session."""
        number, left = self.calls.readmit(label)
        for message, encoded, buffers in said:
            is_output = isinstance(message, messages.Output)
            entry = Entry(0, number, encoded, buffers, is_output=is_output)
            entry.is_end = isinstance(message, messages.Outcome)
            self._to_spool(entry)
            self._release(left.kept.add(entry, self._settings.last_output))
        self.list_calls()

    def take_trouble(self) -> str:
        """Return why the spool could not be written, once; empty when it could."""
        trouble, self._spool.trouble = self._spool.trouble, ""
        return trouble

    # ------------------------------------------------------------ inside

    def _to_spool(self, entry: Entry) -> bool:
        """Move a message to the spool; False when that is full. It then stays in memory, and is the session's own."""
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

    def _keep_last(self, entry: Entry) -> None:
        """Keep a message though the spool is full: of the output, only the last."""
        if not entry.is_output:
            self._to_spool(entry)
        self._tail.append(entry)
        self._tail_bytes += entry.size * entry.is_output  # what ends a call takes no output's place
        while self._tail_bytes > self._settings.last_output and len(self._tail) > 1:
            first = self._tail.popleft()
            if first.is_output:
                self._tail_bytes -= first.size
                self._mark(first)
            else:
                self.kept.append(first)

    def _mark(self, gone: Entry) -> None:
        mark = self.kept[-1] if self.kept else None
        if mark is None or not mark.dropped or mark.call != gone.call:
            mark = Entry(gone.number, gone.call, b"", (), is_output=False)
            self.kept.append(mark)
        mark.number = gone.number
        mark.dropped += gone.size

    def _fold_tail(self) -> None:
        self.kept.extend(self._tail)
        self._tail.clear()
        self._tail_bytes = 0

    def _release(self, unused: Sequence[Said]) -> None:
        for said in unused:
            assert isinstance(said, Entry)
            if said.place is not None and self._spool.release():
                self.list_calls()  # it has gone with the rest
