"""A session's data connection: frames, and large buffers in chunks, of which the session holds what it has received."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Sequence

import zstandard  # noqa: F401  # loaded before the fork: unpacking happens where nothing may be imported

from rpc_magic.settings import WireLimits, WorkerSettings
from rpc_magic.transport import FrameSocket
from rpc_magic.transport.pace import Pace
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer
from rpc_magic.wire.held import Blocks, HeldMemories
from rpc_magic.wire.store import ChunkStore
from rpc_magic.wire.transfers import Step, Transfers

__all__ = ["Chunks", "DataChannel"]


_LOOK_MS = 5
"""Milliseconds after which it is looked whether another thread has read the answer."""


class Chunks:
    """The chunks of a session, whatever connection they came by.

    Args:
        settings: how much is held, and how much a message may hold.

    Attributes:
        limits: of what a connection brings.
    """

    def __init__(self, settings: WorkerSettings) -> None:
        self.limits = WireLimits(payload=settings.message)
        self._store = ChunkStore(settings.held)
        self._blocks = Blocks(self._store, settings.blocks)

    def transfers(self) -> Transfers:
        """Return what a new connection needs."""
        return Transfers(self._store, self.limits.payload, lambda: HeldMemories(self._blocks))


class DataChannel(FrameSocket):
    """See the module's text.

    Args:
        sock: the connection.
        chunks: the session's.
        earlier: the client's connection before, which has broken; None for none.

    Attributes:
        transfers: its large buffers, both directions.
        is_far: the client is far away: what goes slowly is compressed.
        is_lost: it carries nothing any more, though it may not be closed yet.
    """

    def __init__(self, sock: socket.socket, chunks: Chunks, earlier: DataChannel | None = None) -> None:
        self.transfers = chunks.transfers()
        self.is_far = self.is_lost = False
        if earlier is not None:
            self.transfers.follow(earlier.transfers)
        super().__init__(sock, chunks.limits, self.transfers, earlier.last_seq if earlier is not None else 0)

    def send_chunks(
        self,
        call: int,
        encoded: bytes,
        buffers: Sequence[Buffer],
        send: Callable[[Step], None],
        read: Callable[[], object],
    ) -> bool:
        """Send what ends a call when it has large buffers, in chunks, however long that takes. One thread at a time.

        Args:
            call: the call.
            encoded: its outcome.
            buffers: its objects.
            send: sends the frame of the outcome itself.
            read: takes in what has come; called while the client is waited for.

        Returns:
            False when no buffer is large: nothing has been done.

        Raises:
            OSError: the connection is gone.
        """
        outgoing = self.transfers.outgoing(encoded, buffers)
        if outgoing is None:
            return False
        pace, before = Pace(is_far=self.is_far), self.bytes_sent
        while (step := outgoing.next()) is not None or outgoing.is_waiting:
            if step is None:
                self._wait(read)
            elif step.transfer:
                send(step)
            elif not self.send(call, step.message, step.buffers, number=0):
                self.flush_all()
            outgoing.is_packing = pace.is_slow(self.bytes_sent - before)
        return True

    def acknowledge(self) -> None:
        """Tell the client what has come, so that it need not hold it any longer; whoever reads.

        Raises:
            OSError: the connection is gone.
        """
        if not self.send(0, messages.ACKNOWLEDGE, number=0):
            self.flush_all()

    def answer(self, call: int, message: messages.AllNamed | messages.Lacking) -> None:
        """Answer what the client says of transfers; whoever reads.

        Raises:
            OSError: the connection is gone.
            ProtocolError: it does not fit to what came before.
        """
        answer = self.transfers.answer(message)
        if answer is not None and not self.send(call, messages.encode(answer), number=0):
            self.flush_all()

    def _wait(self, read: Callable[[], object]) -> None:
        """Read until the client has said what it lacks."""
        poll = select.poll()
        poll.register(self.fileno(), select.POLLIN)
        poll.poll(_LOOK_MS)
        read()
        if self.is_lost:
            raise OSError("the connection is gone")
