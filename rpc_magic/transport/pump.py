"""A pump between a TLS connection and a plain socket, so that who has the other end of that sees no TLS.

The key stays where the pump is: on a server in the supervisor, never in a process that runs user code. What speaks over
the plain socket (frames, interrupts, resumption) is the same with TLS and without.

Theory of operation. One thread a connection; both ways are driven by it, as an OpenSSL connection is not for two
threads. Each way has one buffer, and reads only when that has left, so a slow reader is felt at the other end. The
network is read in large pieces, many TLS records at once; one record at a time costs two system calls more for each
16 KiB. OpenSSL and the system calls run without Python's global lock, so the process's other threads go on meanwhile.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import mmap
import os
import select
import socket
import sys
import threading
import time

from rpc_magic.transport.tls import TlsEnd

if sys.platform != "win32":
    from fcntl import ioctl
    from termios import FIONREAD

__all__ = ["Pump", "start_pump"]

_SIZE = 1 << 18
"""Bytes that are read at once. Twice of it is the memory of a pump that has something to do."""
_LINGER_SECONDS = 1.0
"""How long the other side may take to hear that the connection is ended, before it is closed."""
_EXIT_SECONDS = 1.0
"""How long the end of the process waits for what was said last to leave."""

_living: set[Pump] = set()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_living.clear)  # a forked child has none of the threads


def start_pump(tls: TlsEnd, sock: socket.socket) -> socket.socket:
    """Serve a TLS connection whose handshake is done from a thread; return the plain socket that stands for it.

    Args:
        tls: the connection; it belongs to the pump from now on.
        sock: its socket; likewise.
    """
    ours, theirs = socket.socketpair()
    pump = Pump(tls, sock, ours)
    _living.add(pump)
    pump.start()
    return theirs


class Pump(threading.Thread):
    """See the module's text.

    Args:
        tls, outer: the TLS connection.
        inner: our end of the plain socket.
    """

    def __init__(self, tls: TlsEnd, outer: socket.socket, inner: socket.socket) -> None:
        super().__init__(name="rpc_magic-tls", daemon=True)
        self._tls, self._outer, self._inner = tls, outer, inner
        self._out: memoryview = memoryview(b"")  # what has still to leave, each way
        self._in: memoryview = self._out
        # Mapped, so that a connection on which little is said takes little memory.
        self._buffer = memoryview(mmap.mmap(-1, _SIZE))
        self._plain = memoryview(mmap.mmap(-1, _SIZE))
        self._is_over = False  # nothing more comes from the inner socket
        self._is_deaf = False  # nobody reads there any more
        self._is_waiting = False
        for sock in (outer, inner):
            sock.setblocking(False)
        if outer.family != getattr(socket, "AF_UNIX", None):
            outer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            inner.setsockopt(socket.SOL_SOCKET, option, _SIZE * 4)

    @property
    def has_unsent(self) -> bool:
        """True while something from the inner socket has not left yet."""
        return not self._is_waiting or bool(self._out) or _waiting(self._inner)

    def run(self) -> None:
        """Pump until either side ends."""
        try:
            with self._outer, self._inner, contextlib.suppress(OSError, EOFError, ValueError):
                self._decrypt()  # what came with the end of the handshake
                while not self._is_over or self._out:
                    self._wait()
                self._say_end()
        finally:
            _living.discard(self)

    def _wait(self) -> None:
        """Wait for what can be done next, and do it."""
        poll = select.poll()
        outer = (0 if self._in else select.POLLIN) | (select.POLLOUT if self._out else 0)
        inner = (0 if self._out or self._is_over else select.POLLIN) | (select.POLLOUT if self._in else 0)
        for sock, wanted in ((self._outer, outer), (self._inner, inner)):
            if wanted:
                poll.register(sock, wanted)
        self._is_waiting = True
        ready = dict(poll.poll())
        self._is_waiting = False
        # What is no POLLIN may be an error, which the system call then tells.
        if events := ready.get(self._outer.fileno(), 0):
            if self._out and events & ~select.POLLIN:
                self._send()
            if not self._in and events & ~select.POLLOUT:
                self._receive()
        if events := ready.get(self._inner.fileno(), 0):
            if self._in and events & ~select.POLLIN:
                self._deliver()
                self._decrypt()
            if not self._out and not self._is_over and events & ~select.POLLOUT:
                self._take()

    # ------------------------------------------------------------ from the network to the plain socket

    def _receive(self) -> None:
        try:
            n = self._outer.recv_into(self._buffer)
        except BlockingIOError:
            return
        if not n:
            raise EOFError
        self._tls.receive(self._buffer[:n])
        self._decrypt()

    def _decrypt(self) -> None:
        """Deliver all that has come whole, as far as the plain socket takes it."""
        while not self._in and (n := self._tls.read_into(self._plain)):
            self._in = self._plain[:n]
            self._deliver()
        if answer := self._tls.data_to_send():  # as to a change of keys
            self._out = memoryview(bytes(self._out) + answer)
        if self._tls.is_ended and not self._in:
            raise EOFError

    def _deliver(self) -> None:
        try:
            n = len(self._in) if self._is_deaf else self._inner.send(self._in)
        except BlockingIOError:
            return
        except OSError:  # what it has said itself may still have to leave
            self._is_deaf, n = True, len(self._in)
        self._in = self._in[n:]

    # ------------------------------------------------------------ from the plain socket to the network

    def _take(self) -> None:
        try:
            n = self._inner.recv_into(self._buffer)
        except BlockingIOError:
            return
        except ConnectionResetError:
            n = 0
        if not n:
            self._is_over = True
            return
        self._tls.write(self._buffer[:n])
        self._out = memoryview(self._tls.data_to_send())
        self._send()

    def _send(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._out = self._out[self._outer.send(self._out) :]

    def _say_end(self) -> None:
        """End the connection; what was sent last must not be lost because the other side was still speaking."""
        self._tls.end()
        self._outer.settimeout(_LINGER_SECONDS)
        self._outer.sendall(self._tls.data_to_send())
        self._outer.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + _LINGER_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            self._outer.settimeout(left)
            if not self._outer.recv_into(self._buffer):
                return


def _waiting(sock: socket.socket) -> bool:
    """Tell whether something has come that nobody has read, where the system tells."""
    count = array.array("i", [0])
    if sys.platform != "win32":
        with contextlib.suppress(OSError, ValueError):
            ioctl(sock, FIONREAD, count)
    return count[0] > 0


@atexit.register
def _finish() -> None:
    """Let what was said last leave: a daemon thread would be stopped before it."""
    deadline = time.monotonic() + _EXIT_SECONDS
    while any(pump.has_unsent for pump in list(_living)) and time.monotonic() < deadline:
        time.sleep(0.001)
