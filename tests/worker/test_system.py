"""Linux facts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from rpc_magic.worker.system import waiting_bytes


def test_waiting_bytes():
    """What waits in a pipe is told on either end."""
    reading, writing = os.pipe()
    try:
        assert waiting_bytes(reading) == waiting_bytes(writing) == 0
        os.write(writing, b"x" * 5000)
        assert waiting_bytes(reading) == waiting_bytes(writing) == 5000
        os.read(reading, 4000)
        assert waiting_bytes(writing) == 1000
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("way", [signal.SIGKILL, signal.SIGTERM])
def test_die_with_parent_and_subreaper(way):
    """A child that asked for it is killed with its parent; orphans become the subreaper's children."""
    code = (
        "import os, time\nfrom rpc_magic.worker.system import become_subreaper, die_with_parent\n"
        "become_subreaper()\n"
        "middle = os.fork()\n"
        "if not middle:\n"
        "    if not os.fork():\n"
        "        die_with_parent()\n"
        "        print(os.getpid(), flush=True)\n"
        "    time.sleep(60)\n"
        f"time.sleep(0.5); os.kill(middle, {int(way)})\n"
        "print(len({os.wait()[0] for _ in range(2)}), flush=True)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.split()[1] == "2"
