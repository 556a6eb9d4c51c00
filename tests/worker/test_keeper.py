"""The keeper's loop, without workers."""

from __future__ import annotations

import pytest

from rpc_magic.settings import ServerSettings
from rpc_magic.transport import PacketSocket
from rpc_magic.wire import internal
from rpc_magic.worker.keeper import Keeper


@pytest.mark.parametrize("said", [b"\x91\x7f", b"no message"])
def test_what_it_does_not_know(said: bytes) -> None:
    """A server may have been upgraded over it: what it does not understand it leaves aside, and hears the next."""
    supervisor, its_own = PacketSocket.pair()
    keeper = Keeper(its_own, None, ServerSettings(), 0)
    supervisor._sock.send(said)
    supervisor.send(internal.EndAll())
    keeper.run()
    supervisor.close()
    its_own.close()
    keeper._selector.close()
