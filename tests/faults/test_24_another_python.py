"""Row 24: another minor version of Python: nothing crashes; functions travel as source, or there is a clear error."""

from __future__ import annotations

import os
import subprocess

import pytest
from checks import Server, unharmed
from live import SECONDS
from pythons import MINORS, ROOT, python_of

CLIENT = """
import sys, rpc_magic
scale = 3
def times(x): return x * scale
with rpc_magic.connect(sys.argv[1]) as conn:
    print(conn.call(times, 5))
    made = {}
    exec("def no_source(x): return x", made)
    try:
        print(conn.call(made["no_source"], 1))
    except rpc_magic.RpcMagicError as error:
        print(type(error).__name__)
    print(conn.call(abs, -1))
"""


def test_a_client_of_another_version(server: Server, tmp_path) -> None:
    """Its functions run as source; one without source is an error of one sentence; the session lives."""
    other = next((python for minor in MINORS if (python := _found(minor))), "")
    if not other:
        pytest.skip("no other version of Python with the dependencies is here")
    program = tmp_path / "client.py"
    program.write_text(CLIENT)
    with unharmed(server):
        done = subprocess.run(
            [other, str(program), server.url],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=SECONDS,
            check=False,
        )
        lines = done.stdout.splitlines()
        assert done.returncode == 0, done.stderr
        assert lines[0] == "15"
        assert lines[1] in {"1", "TransferError"}
        assert lines[2] == "1"


def _found(minor: int) -> str:
    try:
        return python_of(minor)
    except pytest.skip.Exception:
        return ""
