"""A client's link to a session or a program: requests go out, output and outcomes come back to the calls that wait.

What carries it, and what becomes of it when that breaks, is in `rpc_magic.client.resuming`.
"""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Callable, Sequence

from rpc_magic.client.interrupts import Deferred
from rpc_magic.client.listener import Listener, Transfer
from rpc_magic.client.outbox import Entry
from rpc_magic.client.resuming import ResumableLink
from rpc_magic.errors import ProtocolError
from rpc_magic.settings import WorkerSettings
from rpc_magic.transport.iothread import IoThread
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer, Frame
from rpc_magic.wire.store import ChunkStore

__all__ = ["Link"]

_ids = itertools.count(1)
_REMEMBERED = WorkerSettings().functions // 2
"""Functions that a link takes for known: fewer than a session remembers, so that none is forgotten there first."""
_LEAVE = messages.encode(messages.Leave())


class _Known(dict[bytes, None]):
    """Digests of functions that the other side has been given; the oldest is forgotten first."""

    def add(self, digest: bytes) -> None:
        self[digest] = None
        if len(self) > _REMEMBERED:
            with contextlib.suppress(KeyError, StopIteration, RuntimeError):  # another thread was faster
                del self[next(iter(self))]

    def discard(self, digest: bytes) -> None:
        self.pop(digest, None)


class Link(ResumableLink):
    """See the module's text. Thread-safe.

    Args:
        sock, io, payload, on_lost, store: see `ResumableLink`.
        on_stray: takes output that belongs to no call that waits.

    Attributes:
        known: digests of the functions that the other side has been given.
        before_request: called before each request; it may send something.
        on_question: takes the session's questions for modules, on the thread that reads.
        on_libraries: takes the session's versions of libraries likewise; returns a text to show.
    """

    def __init__(
        self,
        sock: socket.socket,
        io: IoThread,
        payload: int,
        on_lost: Callable[[str, bool], Exception | None],
        on_stray: Callable[[int, messages.Message, list[memoryview]], None],
        store: ChunkStore | None = None,
    ) -> None:
        super().__init__(sock, io, payload, on_lost, store)
        self._on_stray = on_stray
        self._listeners: dict[int, Listener] = {}
        self._abandoned: set[int] = set()
        self.known = _Known()
        self.before_request: Callable[[], None] = lambda: None
        self.on_question: Callable[[messages.FindModule], None] = lambda _: None
        self.on_libraries: Callable[[dict[str, str]], str] = lambda _: ""
        io.watch(self)

    @property
    def is_busy(self) -> bool:
        """True while a call has not ended."""
        return bool(self._listeners)

    @property
    def oldest(self) -> int:
        """The call that was begun first of those that have not ended; 0 for none."""
        return min([*self._listeners, *self._abandoned], default=0)

    def has(self, call: int) -> bool:
        """Tell whether a call of this number has not ended there, whoever still waits for it."""
        return call in self._listeners or call in self._abandoned

    # ------------------------------------------------------------ requests (any thread)

    def start(
        self,
        listener: Listener,
        message: messages.Message,
        buffers: Sequence[Buffer] = (),
        *,
        wait: bool = False,
        lead: bool = False,
    ) -> int:
        """Send a request; its output and outcome go to `listener`.

        Args:
            listener: the call; its `call` is set to its id.
            message: the request.
            buffers: its objects. They are referred to until they have been sent.
            wait: return only when the caller may change them: they have arrived, or were copied.
            lead: the caller is about to wait for the outcome: where it is the only one, it reads for itself for a
                moment, which saves two switches of threads.

        Returns:
            The call's id.

        Raises:
            LimitError: the objects are larger than what the server takes.
            RpcMagicError: the connection is gone.
            KeyboardInterrupt: Ctrl-C; the request has been sent when `listener.call` is set.
        """
        size = self._check(buffers)
        encoded = messages.encode(message)
        self.before_request()
        entry: Entry | None = None
        with Deferred():
            call = listener.call = next(_ids)
            self._listeners[call] = listener
            if not (lead and self._may_lead()):
                entry = self._post(call, encoded, buffers, size)
            else:
                try:
                    entry = self._post(call, encoded, buffers, size)
                    if entry is None:
                        self._leader.wait(listener, self.readable)
                finally:
                    self._io.resume(self, has_unsent=self._frames.has_unsent)
                    self._leading.release()
        if wait and entry is not None and entry.done is not None and not self._io.is_current:
            entry.done.wait()
        return call

    def transfer(self, call: int) -> Transfer | None:
        """Return how far the objects of a call have come that are on their way now; None when none are. Any thread."""
        incoming, done, total = self._frames.incoming
        if self._transfers is not None and self._transfers.incoming[0] == call:
            incoming, done, total = self._transfers.incoming
        if incoming == call and total:
            return Transfer(is_upload=False, done=done, total=total)
        upload = self._outbox.progress(call)
        return None if upload is None else Transfer(True, *upload)

    def _may_lead(self) -> bool:
        """Become the one that reads, when no other call is under way; the I/O thread then holds off."""
        if len(self._listeners) > 1 or not self.is_up or not self._leading.acquire(blocking=False):
            return False  # a call may have its outcome, and its thread still be leading
        if self._io.pause(self):
            return True
        self._leading.release()
        return False

    def abandon(self, call: int) -> None:
        """Take no more interest in a call; its outcome is dropped."""
        self._abandoned.add(call)
        listener = self._listeners.pop(call, None)
        if listener is None:
            self._abandoned.discard(call)
        else:
            listener.hurry()

    def hurry(self, call: int) -> None:
        """A call was stopped: what it has shown must not hold its end up; 0 means every call. Any thread."""
        for listener in list(self._listeners.values()):
            if call in (0, listener.call):
                listener.hurry()

    def read_on(self) -> None:
        """A call has taken what it was shown: more is read."""
        self._io.release(self, has_unsent=self._frames.has_unsent)

    # ------------------------------------------------------------ the I/O thread

    def _dispatch(self, frame: Frame) -> None:
        message, call, buffers = messages.decode_answer(frame.message), frame.call, frame.buffers
        if self._sent and self._sent[0].number <= frame.ack:
            self._acknowledged(frame.ack)
        if isinstance(message, messages.Outcome):
            listener = self._listeners.pop(call, None)
            if listener is not None:
                listener.finish(message, buffers)
            else:
                self._abandoned.discard(call)
            return
        if isinstance(message, (messages.AllNamed, messages.Lacking)):
            self._take_transfer(call, message)
            return
        if isinstance(message, messages.FindModule):
            self.on_question(message)
            return
        if isinstance(message, messages.Acknowledge):
            return
        if isinstance(message, messages.Resumed):
            if self.is_up:
                raise ProtocolError("the other side goes on with what has not been cut")
            self._go_on(is_known=message.is_known)
            return
        if isinstance(message, messages.NothingMore):
            self.has_all = True
            return
        if isinstance(message, messages.Libraries):
            text = self.on_libraries(message.versions)
            if not text:
                return
            message = messages.Stream("stderr", text)
        listener = self._listeners.get(call)
        kinds = (messages.Output, messages.CommMessage) if listener and listener.waits else messages.Output
        if listener is not None and isinstance(message, kinds):
            self._show(listener, message, buffers)
        else:
            with contextlib.suppress(Exception):  # a broken sys.stdout here must not end the connection
                self._on_stray(call, message, buffers)

    def _show(
        self, listener: Listener, message: messages.Output | messages.CommMessage, buffers: list[memoryview]
    ) -> None:
        """Give a call what it shows; read no more where it has enough of it."""
        listener.output(message, buffers)
        if (
            self.is_session and listener.is_full
        ):  # the session's calls run one at a time: no other one waits for this
            self._io.hold(self, lambda: listener.is_full)

    def _take_transfer(self, call: int, message: messages.AllNamed | messages.Lacking) -> None:
        """Take what is said of large buffers; answer it, and go on with what waited for it."""
        if self._transfers is None:
            raise ProtocolError("large buffers were told of where there are none")
        answer = self._transfers.answer(message)
        if answer is None:
            self._io.do(self._empty_outbox)
        else:
            self._send_unnumbered(call, messages.encode(answer))

    def fail_all(self, error: Exception) -> None:
        """End every call that waits with `error`. I/O thread only."""
        self._gone = error
        self._outbox.drop()
        while self._sent:
            self._sent.popleft().finish()
        self._abandoned.clear()
        while self._listeners:
            self._listeners.popitem()[1].fail(error)

    def close(self, error: Exception) -> None:
        """Close the connection; calls that wait end with `error`. Any thread."""
        if self._gone is None:
            if self.is_up and not self.is_session:
                self._send_unnumbered(0, _LEAVE)  # of a session the supervisor is told
            self._gone = error

            def then() -> None:
                self._frames.close()
                self.fail_all(error)

            self._io.forget(self, then)
