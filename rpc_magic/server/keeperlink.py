"""The supervisor's side of its keeper: ask for workers, hear of their ends."""

from __future__ import annotations

import asyncio
import contextlib
import mmap
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any

from rpc_magic.errors import ProtocolError, RpcMagicError
from rpc_magic.runtime.processes import interrupt_group
from rpc_magic.server.strangers import BrokenLog
from rpc_magic.transport.packets import PacketSocket, close_all
from rpc_magic.wire import internal
from rpc_magic.wire.handshake import Role

__all__ = ["KeeperLink", "WorkerHandle"]

_WORD = Struct("=Q")


@dataclass(slots=True)
class WorkerHandle:
    """A living worker, as the supervisor holds it.

    Nobody waits for a worker: it may be deep in C code, or stopped, and what it is told waits in the socket.

    Attributes:
        pid: of its process.
        link: the packet socket over which it is given connections.
        page: its status page.
    """

    pid: int
    link: PacketSocket
    page: mmap.mmap

    def inherit(self, cause: str, last_words: str, spool: int) -> None:
        """Give the worker of a fresh session what an earlier one of its name has left that died."""
        with contextlib.suppress(OSError):
            self.link.send(internal.Inherit(cause, last_words), [spool])

    def miss(self, client: bytes) -> None:
        """Tell the worker that its client has not been heard of for long."""
        with contextlib.suppress(OSError):
            self.link.try_send(internal.Absent(client))

    def adopt(self, role: Role, client: bytes, resume: int, descriptor: int) -> bool:
        """Give the worker a proved connection; False when it is gone, or takes none: the client tries again."""
        try:
            return self.link.try_send(internal.Adopt(int(role), client, resume), [descriptor])
        except OSError:
            return False

    def interrupt(self, call: int, *, is_running: bool) -> None:
        """Send SIGINT, meant for `call` (0: whatever runs); when it runs, to the processes that it has started too."""
        (number,) = _WORD.unpack_from(self.page, internal.INTERRUPTS_AT)
        _WORD.pack_into(self.page, internal.RING_AT + number % internal.RING * _WORD.size, call)
        _WORD.pack_into(self.page, internal.INTERRUPTS_AT, number + 1)
        if is_running:
            interrupt_group(self.pid)
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGINT)

    def close(self) -> None:
        """Let go of the worker; it lives on if it lives."""
        if self.link.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self.link.fileno())
        self.link.close()
        self.page.close()


class KeeperLink:
    """Talks to the keeper; belongs to the running event loop.

    Args:
        packets: the packet socket to it.
        pid: of its process.
        on_exit: called when a worker has ended, also for each that ended with the keeper; with the descriptor of what
            it has left, -1 for nothing.
        on_gone: called when the keeper itself is gone.
    """

    def __init__(
        self,
        packets: PacketSocket,
        pid: int,
        on_exit: Callable[[internal.Exited, int], None],
        on_gone: Callable[[], None],
    ) -> None:
        self._packets, self.pid = packets, pid
        self._on_exit, self._on_gone = on_exit, on_gone
        self._waiting: dict[bytes, asyncio.Future[WorkerHandle]] = {}
        self._living: set[bytes] = set()
        self._broken = BrokenLog()
        self._left: set[bytes] = set()  # those that have left something
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[dict[str, str]] = self._loop.create_future()
        self._loop.add_reader(self._packets.fileno(), self._readable)

    @property
    def has_workers(self) -> bool:
        """It has workers, is about to make one, or holds what one has left."""
        return bool(self._living or self._waiting or self._left)

    async def fork(self, request: internal.Fork) -> WorkerHandle:
        """Have a worker made.

        Raises:
            RpcMagicError: it could not be made.
        """
        answer: asyncio.Future[WorkerHandle] = self._loop.create_future()
        self._waiting[request.ticket] = answer
        try:
            await asyncio.shield(self.ready)
            self._say(request)
            return await answer
        except OSError as error:
            raise RpcMagicError("the server's keeper process has ended") from error
        except (
            asyncio.CancelledError
        ):  # who asked has gone; where the answer is still to come, `_hear` ends the worker
            if answer.done() and not answer.cancelled() and answer.exception() is None:
                answer.result().close()
                self.end(request.ticket)
            raise
        finally:
            self._waiting.pop(request.ticket, None)

    def hold(self, ticket: bytes, pid: int, link: int, page: int) -> WorkerHandle:
        """Take over the descriptors of a worker that lives.

        Raises:
            OSError: no descriptors or memory left.
        """
        self._living.add(ticket)
        packets = PacketSocket.from_descriptor(link)
        try:
            handle = WorkerHandle(pid, packets, mmap.mmap(page, internal.PAGE_SIZE))
        except OSError:
            packets.close()
            raise
        finally:
            os.close(page)
        self._loop.add_reader(handle.link.fileno(), self._hear_worker, handle.link)
        return handle

    def _hear_worker(self, link: PacketSocket) -> None:
        """A worker says something of its own accord: one packet, for its user code may say anything, and without end.

        What it answers when the server ends is `rpc_magic.server.keeping`'s business.
        """
        try:
            message, descriptors = link.receive() or (None, [])
        except (EOFError, OSError, ProtocolError):
            self._loop.remove_reader(link.fileno())
            return
        close_all(descriptors)
        if isinstance(message, internal.Broken):
            self._broken.note(message.role)

    def settle(self, path: str, url: str) -> None:
        """Have the keeper wait at `path` for a supervisor that comes after this one."""
        with contextlib.suppress(OSError):
            self._say(internal.Settle(path, url))

    def remember(self, ticket: bytes, facts: internal.SessionFacts) -> None:
        """Have the keeper keep what a supervisor that comes after this one has to know of a session."""
        with contextlib.suppress(OSError):
            self._say(internal.Remember(ticket, facts))

    def note_left(self, ticket: bytes) -> None:
        """A worker that has ended has left something, which the keeper holds until `forget`."""
        self._left.add(ticket)

    def forget(self, ticket: bytes) -> None:
        """Have the keeper let go of what a worker has left."""
        self._left.discard(ticket)
        with contextlib.suppress(OSError):
            self._say(internal.Forget(ticket))

    def end(self, ticket: bytes) -> None:
        """Have a worker ended; `on_exit` follows, also where it has ended with the keeper just now."""
        with contextlib.suppress(OSError):
            self._say(internal.EndWorker(ticket))

    def end_all(self) -> None:
        """Have all workers and the keeper ended."""
        with contextlib.suppress(OSError):
            self._say(internal.EndAll())

    def close(self) -> None:
        """Stop listening to the keeper."""
        self._loop.remove_reader(self._packets.fileno())
        self._packets.close()

    def _say(self, message: internal.Internal) -> None:
        self._packets.send(message)

    def _readable(self) -> None:
        try:
            while received := self._packets.receive():
                self._hear(*received)
        except EOFError:
            self._loop.remove_reader(self._packets.fileno())
            gone = RpcMagicError("the server's keeper process has ended")
            answers: list[asyncio.Future[Any]] = [self.ready, *self._waiting.values()]
            for answer in answers:
                if not answer.done():
                    answer.set_exception(gone)
                    answer.exception()  # taken note of: nobody may be waiting
            self._waiting.clear()
            while self._living:
                self._on_exit(internal.Exited(self._living.pop(), 0, "its keeper process has ended", ""), -1)
            self._on_gone()

    def _hear(self, message: internal.AnyInternal, descriptors: list[int]) -> None:
        match message:
            case internal.KeeperReady():
                self.ready.set_result(message.versions)
            case internal.Forked(ticket, pid):
                self._take(ticket, pid, descriptors)
            case internal.ForkFailed(ticket, reason):
                self._fail(ticket, reason)
            case internal.Exited():
                self._living.discard(message.ticket)
                if descriptors:
                    self.note_left(message.ticket)
                self._on_exit(message, descriptors[0] if descriptors else -1)
            case _:
                close_all(descriptors)

    def _take(self, ticket: bytes, pid: int, descriptors: list[int]) -> None:
        """Give a worker that was made to who has asked for it; end it where that cannot be done."""
        try:
            link, page = descriptors
            handle = self.hold(ticket, pid, link, page)
        except (ValueError, OSError):  # they were lost on their way here, or another one cannot be had
            self._fail(
                ticket, "the server has no file descriptors left; try again when other clients have left"
            )
            self.end(ticket)
            return
        waiting = self._waiting.pop(ticket, None)
        if waiting is None or waiting.done():
            handle.close()
            self.end(ticket)
        else:
            waiting.set_result(handle)

    def _fail(self, ticket: bytes, reason: str) -> None:
        waiting = self._waiting.pop(ticket, None)
        if waiting is not None and not waiting.done():
            waiting.set_exception(RpcMagicError(reason))
