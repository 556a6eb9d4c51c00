"""Row 34: more sessions than allowed: a busy error with the limit; those within it are served."""

from __future__ import annotations

from pathlib import Path

import pytest
from checks import serving, unharmed
from live import eventually

import rpc_magic
from rpc_magic import errors


def test_limit(tmp_path: Path) -> None:
    """The newcomer is told the limit and what to do; sessions in use work, and an ended one makes room again."""
    with (
        serving(tmp_path, "--port", "0", "--max-sessions", "3") as server,
        unharmed(server, "was refused: the server has its 3 sessions"),
    ):
        first, second = rpc_magic.connect(server.url), rpc_magic.connect(server.url)
        with pytest.raises(errors.ConnectError, match=r"has its 3 sessions.*--max-sessions"):
            rpc_magic.connect(server.url)
        assert (first.call(abs, -1), second.call(abs, -2)) == (1, 2)
        first.close()
        second.close()
        eventually(lambda: server.log.count("ended: its client has left") == 2)
