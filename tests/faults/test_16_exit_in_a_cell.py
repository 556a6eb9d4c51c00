"""Row 16: sys.exit() and exit() in a cell or a thread: the cell says so, and the session lives."""

from __future__ import annotations

import pytest
from checks import Server, unharmed

import rpc_magic
from rpc_magic import errors

IN_A_THREAD = "import sys, threading\nt = threading.Thread(target=sys.exit)\nt.start()\nt.join()\n'after'"
IN_A_TASK = "import asyncio, sys\nasyncio.get_running_loop().call_soon(sys.exit, 4)\nawait asyncio.sleep(0.05)\n'after'"


def test_exit(server: Server) -> None:
    """Each way to end a program ends the cell at most; variables are there afterwards."""
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        conn.push(kept=5)
        for cell, code in (
            ("import sys\nsys.exit(3)", 3),
            ("exit()", None),
            ("quit", None),
            ("raise SystemExit('bye')", "bye"),
        ):
            with pytest.raises(errors.RemoteExit) as caught:
                conn.run(cell)
            assert caught.value.code == code
        with pytest.raises(errors.RemoteExit) as caught:
            conn.call(exit, 2)
        assert caught.value.code == 2
        assert conn.run(IN_A_THREAD).value == "after"
        assert conn.run(IN_A_TASK).value == "after"
        assert conn.pull("kept") == 5
