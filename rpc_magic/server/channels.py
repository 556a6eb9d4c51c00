"""A connection during its handshake: read for exactly what is due, plainly or through TLS.

On a plain channel not a byte more is taken from the socket, so that it can then be given to another process. Under TLS
the supervisor keeps the connection, and gives the plain end of a pump.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

from rpc_magic.errors import ProtocolError
from rpc_magic.server.certificates import Identity
from rpc_magic.transport.pump import start_pump
from rpc_magic.transport.tls import CLIENT_HELLO_START, TlsEnd, check_client_hello

__all__ = ["Channel", "PlainChannel", "TlsChannel", "open_channel"]

_PIECE = 1 << 14


class Channel(Protocol):
    """See the module's text.

    Attributes:
        binding: the channel binding.
    """

    binding: bytes

    async def receive(self, size: int) -> bytes:
        """Receive exactly `size` bytes.

        Raises:
            EOFError: the other side has closed before.
        """

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""

    def release(self) -> socket.socket:
        """Return a plain socket that stands for the connection from now on."""


class PlainChannel:
    """A connection without TLS."""

    binding = b""

    def __init__(self, sock: socket.socket) -> None:
        self._sock, self._loop = sock, asyncio.get_running_loop()

    async def receive(self, size: int) -> bytes:
        """Receive exactly `size` bytes; see `Channel`."""
        data = b""
        while len(data) < size:
            more = await self._loop.sock_recv(self._sock, size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        await self._loop.sock_sendall(self._sock, data)

    def release(self) -> socket.socket:
        """Return the connection itself."""
        return self._sock


class TlsChannel:
    """A connection with TLS.

    Args:
        sock: the connection.
        identity: the server's.
        limit: bytes that may come before it is released.
    """

    def __init__(self, sock: socket.socket, identity: Identity, limit: int) -> None:
        self._sock, self._left = sock, limit
        self._plain = PlainChannel(sock)
        self._context = identity.context
        self._tls: TlsEnd
        self.binding = identity.hash

    async def shake_hands(self) -> None:
        """Go through the handshake of TLS.

        Raises:
            ProtocolError: the other side speaks something else.
            ssl.SSLError: it speaks another TLS.
            EOFError: it has closed.
        """
        start = await self._plain.receive(CLIENT_HELLO_START)
        check_client_hello(start)
        self._tls = TlsEnd(
            self._context, is_server=True
        )  # only now: a silent connection costs next to nothing
        self._tls.receive(start)
        while not self._tls.shake_hands():
            await self._flush()
            await self._more()
        await self._flush()

    async def _flush(self) -> None:
        await self._plain.send(self._tls.data_to_send())

    async def _more(self) -> None:
        data = await asyncio.get_running_loop().sock_recv(self._sock, _PIECE)
        self._left -= len(data)
        if self._left < 0:
            raise ProtocolError("too much was sent before the proof")
        if not data:
            raise EOFError
        self._tls.receive(data)

    async def receive(self, size: int) -> bytes:
        """Receive exactly `size` bytes; see `Channel`."""
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            if n := self._tls.read_into(rest):
                rest = rest[n:]
            elif self._tls.is_ended:
                raise EOFError
            else:
                await self._more()
        return bytes(data)

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        self._tls.write(data)
        await self._flush()

    def release(self) -> socket.socket:
        """Return the plain end of a pump."""
        return start_pump(self._tls, self._sock)


async def open_channel(sock: socket.socket, identity: Identity | None, limit: int) -> Channel:
    """Return the channel of an accepted connection.

    Args:
        sock: the connection.
        identity: the server's; None without TLS.
        limit: bytes that may come before a proof, under TLS.

    Raises:
        ProtocolError, OSError, EOFError: the other side does not speak TLS as it should; see `TlsChannel`.
    """
    if identity is None:
        return PlainChannel(sock)
    channel = TlsChannel(sock, identity, limit)
    await channel.shake_hands()
    return channel
