"""The client's end of the control connection, against a server that is made of a socket."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
from live import SECONDS

from rpc_magic.client.controlling import ControlLink
from rpc_magic.errors import ConnectionLostError
from rpc_magic.transport.iothread import IoThread
from rpc_magic.wire import control
from rpc_magic.wire.frames import encode_frame


def said(count: int) -> bytes:
    answer = control.encode(control.Sessions(()))
    return b"".join(piece for seq in range(1, count + 1) for piece in encode_frame(0, seq, 0, answer))


@pytest.mark.parametrize("count", [3, 1000])
def test_answers_that_nobody_asked_for(count: int) -> None:
    """A few are let pass; a flood of them ends the connection, before they fill the client's memory."""
    here, there = socket.socketpair()
    io, lost, heard = IoThread(), threading.Event(), threading.Event()
    link = ControlLink(here, "x", io, lambda _: heard.set(), lost.set, lambda: None)
    try:
        with contextlib.suppress(OSError):
            there.sendall(said(count))
        if count > 100:
            assert lost.wait(SECONDS)
            assert link._answers.qsize() < 100
            with pytest.raises(ConnectionLostError):
                link.ask(control.ListSessions(), control.Sessions, 1.0)
        else:
            assert isinstance(link.ask(control.ListSessions(), control.Sessions, SECONDS), control.Sessions)
            assert not lost.is_set()
    finally:
        link.close()
        io.end()
        io.join(SECONDS)
        there.close()
