"""Sockets, and nothing above them: frames over a stream socket, packets with descriptors over a Unix socket.

Used by the client, the worker and the exposing program alike; the supervisor, whose loop is asyncio's, has
its own face over `rpc_magic.wire`; under TLS it has the pump in common with the client. Threads are `iothread`'s and,
one for each TLS connection, `pump`'s.
"""

from rpc_magic.transport.framesocket import FrameSocket
from rpc_magic.transport.packets import PacketSocket

__all__ = ["FrameSocket", "PacketSocket"]
