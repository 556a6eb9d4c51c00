"""Saving a session's variables and loading them in another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

CELL = """%%rpc_call
import numpy
shared = [1]
pair = (shared, shared)
array = numpy.arange(300_000)
def double(): return factor * 2
factor = 21
stream = (i for i in shared)
"""


def test_save_and_load(loaded: Any, tmp_path: Path) -> None:
    """A fresh session has the variables, what they share is shared, functions see them; a generator is told."""
    file = tmp_path / "monday.session"
    loaded.good("%rpc_connect --no-widget")
    loaded.good(CELL)
    said = loaded.good(f"%rpc_save {file}").out
    assert "double" in said
    assert "not saved: stream" in said
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.glob(".*")) == []
    loaded.good("%rpc_restart")
    assert "factor" in loaded.good(f"%rpc_load {file}").out
    assert loaded.good("int(array[-1]) + factor").result == "300020", "they are the notebook's as well"
    assert "42 True 299999" in loaded.good("%%rpc_call\nprint(double(), pair[0] is pair[1], array[-1])").out


def test_what_cannot_be_loaded(loaded: Any, tmp_path: Path) -> None:
    """A missing, foreign or cut file, and one of another Python, are told in a sentence; nothing is half there."""
    file = tmp_path / "a.session"
    loaded.good("%rpc_connect --no-widget")
    loaded.good("%%rpc_call\nx = list(range(1000))")
    assert "No such file" in loaded.run(f"%rpc_load {file}").traceback
    report = loaded.run(f"%rpc_save {tmp_path}/no/folder")
    assert "cannot be saved" in report.traceback
    assert "\n" not in report.traceback, "where that was found out tells nothing"
    loaded.good(f"%rpc_save {file}")
    data = file.read_bytes()
    for size in (0, 5, 21, 25, 40, len(data) - 1):
        file.write_bytes(data[:size])
        assert loaded.run(f"%rpc_load {file}").error == "RpcMagicError"
    file.write_bytes(data[:20] + b"\x02\x07" + data[22:])
    assert "Python 2.7" in loaded.run(f"%rpc_load {file}").traceback
