"""Messages between a server's own processes: one packet each, with file descriptors beside it.

A sequenced-packet Unix socket keeps the packets apart and in order, and tells when the other side is gone.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import select
import socket
from collections.abc import Sequence

from rpc_magic.errors import LimitError, ProtocolError
from rpc_magic.wire import internal

__all__ = ["MAX_DESCRIPTORS", "MAX_PACKET", "PacketSocket"]

MAX_PACKET = 1 << 20
"""Bytes of the largest packet: one holds a client's whole environment."""

MAX_DESCRIPTORS = 253
"""Descriptors beside one packet: as many as Linux passes at once (SCM_MAX_FD)."""


class PacketSocket:
    """Internal messages over one sequenced-packet Unix socket, which it owns; not thread-safe.

    Args:
        sock: the socket; made non-blocking.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_PACKET)
        self._sock = sock

    @classmethod
    def pair(cls) -> tuple[PacketSocket, PacketSocket]:
        """Return two joined sockets."""
        one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        return cls(one), cls(other)

    @classmethod
    def from_descriptor(cls, descriptor: int) -> PacketSocket:
        """Take over an inherited descriptor."""
        return cls(socket.socket(fileno=descriptor))

    def fileno(self) -> int:
        """Return the socket's descriptor, -1 when closed."""
        return self._sock.fileno()

    def try_send(self, message: internal.Internal, descriptors: Sequence[int] = ()) -> bool:
        """Send a message with copies of `descriptors`; False when the other side's queue is full.

        Raises:
            LimitError: the message is larger than a packet may be here, or the descriptors are too many.
            OSError: the other side is gone.
        """
        packet = internal.encode(message)
        if len(packet) > MAX_PACKET:
            raise LimitError("an internal message", len(packet), MAX_PACKET)
        if len(descriptors) > MAX_DESCRIPTORS:
            raise LimitError("an internal message", len(descriptors), MAX_DESCRIPTORS, "descriptors")
        try:
            socket.send_fds(self._sock, [packet], list(descriptors))
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno != errno.EMSGSIZE:
                raise
            # The system's own limit (net.core.wmem_max) is the smaller one.
            room = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            raise LimitError("an internal message", len(packet), room) from error
        return True

    def send(self, message: internal.Internal, descriptors: Sequence[int] = ()) -> None:
        """Send a message with copies of `descriptors`; wait while the other side's queue is full.

        Raises:
            LimitError, OSError: as `try_send`.
        """
        while not self.try_send(message, descriptors):
            poll = select.poll()
            poll.register(self._sock, select.POLLOUT)
            poll.poll(1000)

    def receive(self) -> tuple[internal.AnyInternal, list[int]] | None:
        """Return the next message and its descriptors (now the caller's), or None when there is none yet.

        Where this process has too few descriptors left to take those beside the packet, they are lost, all of them.

        Raises:
            EOFError: the other side is gone.
            ProtocolError: the packet is no message.
        """
        fds = array.array("i")
        room = socket.CMSG_SPACE(MAX_DESCRIPTORS * fds.itemsize)
        try:
            try:
                packet, ancillary, flags, _ = self._sock.recvmsg(MAX_PACKET, room, socket.MSG_CMSG_CLOEXEC)
            except ConnectionError:  # it ended without having read all; what it said before comes after that
                packet, ancillary, flags, _ = self._sock.recvmsg(MAX_PACKET, room, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return None
        except ConnectionError as error:
            raise EOFError("the other process is gone") from error
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        if not packet:
            close_all(fds)
            raise EOFError("the other process is gone")
        if flags & socket.MSG_CTRUNC:
            close_all(fds)
            fds = array.array("i")
        try:
            return internal.decode(packet), list(fds)
        except ProtocolError:
            close_all(fds)
            raise

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until a message can be received, at most `timeout` seconds; tell whether one can."""
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return bool(poll.poll(None if timeout is None else timeout * 1000))

    def detach(self) -> int:
        """Return the descriptor, which is now the caller's."""
        return self._sock.detach()

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors that nobody wants."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)
