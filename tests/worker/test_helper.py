"""The helper thread's ear, without the thread."""

from __future__ import annotations

import os
from types import SimpleNamespace

from rpc_magic.settings import WorkerSettings
from rpc_magic.transport import PacketSocket
from rpc_magic.wire import internal
from rpc_magic.worker.helper import Helper


def test_what_it_does_not_know() -> None:
    """A server may have been upgraded over its session, which leaves aside what it does not understand."""
    missed: list[bytes] = []
    worker = SimpleNamespace(resolve_for_engine=None, note_tasks=None, miss=missed.append)
    supervisor, link = PacketSocket.pair()
    keeper, own = PacketSocket.pair()
    helper = Helper(worker, link, own, WorkerSettings())
    supervisor._sock.send(b"\x91\x7f")
    supervisor.send(internal.Absent(b"c" * 16))
    for _ in range(2):
        helper._hear(link)
    assert missed == [b"c" * 16]
    os.close(helper._wake)
    for one in (supervisor, link, keeper, own, helper._engine._wake_read, helper._engine._wake_write):
        one.close()
