"""Row 33: no file descriptors left: new clients get a busy error, sessions in use work, and it recovers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from checks import Server, unharmed
from live import eventually

import rpc_magic
from rpc_magic import errors


@contextmanager
def limited(process: psutil.Process, most: int) -> Iterator[None]:
    """Let a process have so many descriptors."""
    limits = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (most, limits[1]))
    try:
        yield
    finally:
        process.rlimit(psutil.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("left", [0, 1, 5])
def test_descriptors(server: Server, left: int) -> None:
    """With so many left; then they are there again."""
    process = psutil.Process(server.process.pid)
    with unharmed(server, "descriptors"), rpc_magic.connect(server.url) as conn:
        conn.push(x=1)
        with limited(process, process.num_fds() + left):
            for _ in range(3):
                with pytest.raises(errors.ConnectError, match="as many connections"):
                    rpc_magic.connect(server.url, timeout=5)
                assert conn.pull("x") == 1
                assert conn.info().state == "idle"
            call = conn.submit(lambda: __import__("time").sleep(600))
            assert call.cancel()
            assert conn.call(abs, -1) == 1
        with rpc_magic.connect(server.url) as another:
            assert another.call(abs, -2) == 2


def test_a_session_without_descriptors(server: Server) -> None:
    """Its code has used them up when its connection breaks: the client is back once there are some again."""
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        conn.push(x=1)
        with limited(psutil.Process(conn.attachment.worker_pid), 3):
            conn.attachment.io.do(conn.attachment.links.cut)
            eventually(lambda: (retry := conn.attachment.retry) is not None and retry.attempt > 3)
        assert conn.pull("x") == 1


def test_a_session_that_the_server_has_no_descriptors_for(server: Server) -> None:
    """Its client is told so at once, and nothing of it stays."""
    process = psutil.Process(server.process.pid)
    with unharmed(server), rpc_magic.connect(server.url, timeout=60) as conn:
        with (
            limited(process, process.num_fds()),
            pytest.raises(errors.ConnectError, match="no file descriptors left"),
        ):
            conn.restart()
        conn.restart()
        assert conn.call(abs, -1) == 1
