"""The hard cases in a real IPython shell: its cells define them, another process has them sent to it."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rpc_magic import serial

HERE = Path(__file__).parent

spec = importlib.util.spec_from_file_location("hard_cases", HERE / "test_hard_cases.py")
hard_cases = importlib.util.module_from_spec(spec)
spec.loader.exec_module(hard_cases)
CASES = hard_cases.CASES | hard_cases.NUMERIC

SHELL = """
import base64, json, sys
from IPython.core.interactiveshell import InteractiveShell
from rpc_magic import serial
sink, sys.stdout = sys.stdout, sys.stderr
shell = InteractiveShell.instance()
shell.history_manager.enabled = False
for line in sys.stdin:
    shell.reset(new_session=False)
    namespace = shell.user_ns
    try:
        shell.run_cell(json.loads(line), store_history=True).raise_error()
        buffers = serial.encode(namespace["probe"], namespace=namespace)
        answer = [base64.b64encode(buffer).decode() for buffer in buffers]
    except Exception as error:
        answer = repr(error)
    print(json.dumps(answer), file=sink, flush=True)
"""


class Shell:
    """A process with an IPython shell; to a peer it is a notebook whose `encode` runs a cell."""

    def __init__(self, folder):
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", SHELL],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "IPYTHONDIR": str(folder), "PYTHONPATH": str(HERE.parents[1])},
        )

    def encode(self, cell):
        self._process.stdin.write(json.dumps(textwrap.dedent(cell)) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert isinstance(answer, list), answer
        return [base64.b64decode(buffer) for buffer in answer]

    def decode(self, buffers):
        return serial.decode(buffers)

    def close(self):
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    process = Shell(tmp_path_factory.mktemp("ipython"))
    yield process
    process.close()


@pytest.mark.parametrize("name", CASES)
def test_case(name, shell, peer):
    """What a cell of a shell defines works in the other process as it does in the shell."""
    if name in hard_cases.NUMERIC:
        pytest.importorskip("pandas")
        pytest.importorskip("polars")
    assert peer.call(shell, CASES[name])
