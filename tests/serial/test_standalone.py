"""dumps and loads: one bytes object that stands by itself."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc_magic.errors import ProtocolError
from rpc_magic.serial import dumps, loads


@pytest.mark.parametrize("size", [0, 3, 5_000, 500_000])
def test_arrays_are_writable_aligned_copies(size):
    """Arrays come back writable, aligned, and apart from the bytes they came from."""
    array = np.arange(size, dtype="f8")
    data = dumps({"a": array, "b": [b"x" * 300_000]})
    copy = loads(data)["a"]
    assert (copy == array).all()
    assert copy.flags.writeable
    assert copy.flags.aligned
    assert not np.shares_memory(copy, np.frombuffer(data, "u1"))


def test_file_to_another_process(tmp_path, notebook):
    """A function and its data written here are read and called by another process."""
    notebook.run("k = 3\nclass C:\n    def __init__(self, x): self.x = x\ndef f(c): return c.x + k")
    path = tmp_path / "saved"
    path.write_bytes(dumps((notebook["f"], notebook["C"](4))))
    script = f"from rpc_magic import loads; f, c = loads(open({str(path)!r}, 'rb').read()); print(f(c))"
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60
    )
    assert run.stdout == "7\n", run.stderr


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_foreign_bytes(data):
    """Bytes that dumps did not make are a ProtocolError."""
    with pytest.raises(ProtocolError):
        loads(data)


def test_cut_short_at_any_byte():
    """Every truncation is noticed."""
    data = dumps([np.arange(1000), "x"])
    for length in range(0, len(data), 7):
        with pytest.raises(ProtocolError):
            loads(data[:length])


def test_memoryview_and_bytearray_are_accepted():
    """Any bytes-like object does."""
    data = dumps([1, 2])
    assert loads(bytearray(data)) == loads(memoryview(data)) == [1, 2]
