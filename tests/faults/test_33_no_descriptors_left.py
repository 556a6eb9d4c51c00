"""Row 33: no file descriptors left: new clients get a busy error, sessions in use work, and it recovers."""

from __future__ import annotations

import psutil
import pytest
from checks import Server, unharmed

import rpc_magic
from rpc_magic import errors


@pytest.mark.parametrize("left", [0, 1, 5])
def test_descriptors(server: Server, left: int) -> None:
    """With so many left; then they are there again."""
    process = psutil.Process(server.process.pid)
    limits = process.rlimit(psutil.RLIMIT_NOFILE)
    with unharmed(server, "descriptors"), rpc_magic.connect(server.url) as conn:
        conn.push(x=1)
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + left, limits[1]))
        try:
            for _ in range(3):
                with pytest.raises(errors.ConnectError, match="as many connections"):
                    rpc_magic.connect(server.url, timeout=5)
                assert conn.pull("x") == 1
                assert conn.info().state == "idle"
            call = conn.submit(lambda: __import__("time").sleep(600))
            assert call.cancel()
            assert conn.call(abs, -1) == 1
        finally:
            process.rlimit(psutil.RLIMIT_NOFILE, limits)
        with rpc_magic.connect(server.url) as another:
            assert another.call(abs, -2) == 2
