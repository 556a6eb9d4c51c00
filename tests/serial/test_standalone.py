"""dumps and loads: one bytes object that stands by itself."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc_magic import serial
from rpc_magic.errors import ProtocolError, TransferError
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


def test_plain_pickle_reads_it(notebook):
    """The bytes are a pickle, so whatever reads pickles reads them, arrays and functions included."""
    notebook.run("k = 3\ndef f(x): return x + k")
    array = np.arange(100_000.0)
    copy, f = pickle.loads(dumps((array, notebook["f"])))
    assert (copy == array).all()
    assert copy.flags.writeable
    assert f(1) == 4


def test_functions_are_copies(notebook):
    """Functions of one `dumps` share globals of their own: a copy's changes do not reach the original."""
    notebook.run("""
        count = 0
        def up():
            global count
            count += 1
        def get(): return count
    """)
    up, get = loads(dumps((notebook["up"], notebook["get"])))
    up()
    assert (get(), notebook["count"]) == (1, 0)
    assert loads(dumps(notebook["get"]))() == 0


def test_copied_functions_stay_copies(notebook):
    """A copy that is encoded again for a session is a function like any other."""
    notebook.run("k = 1\ndef f(): return k")
    copy = loads(dumps(notebook["f"]))
    assert serial.decode(serial.encode([copy, copy]))[1]() == 1


def test_refusal_is_an_error_of_pickle_too():
    """Code that expects pickle's errors gets one; what was raised inside is the cause."""

    class Bad:
        def __reduce__(self):
            raise KeyError("inner")

    with pytest.raises(pickle.PicklingError, match="box") as caught:
        dumps({"box": Bad()})
    assert isinstance(caught.value, TransferError)
    assert isinstance(caught.value.__cause__, KeyError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize("kind", [ValueError, KeyError, RuntimeError])
def test_refusal_is_caught_as_what_the_object_has_raised(kind):
    """An object's own refusal, also of a class of its own, is caught by its builtin class, and told in full."""

    class Own(kind):
        pass

    class Bad:
        def __reduce__(self):
            raise Own("not me")

    with pytest.raises(kind, match=r"box.* cannot travel: .*not me") as caught:
        dumps({"box": {"it": Bad()}})
    assert isinstance(caught.value, TransferError)


def test_other_format():
    """A body of another format says so."""
    data = bytearray(dumps(1))
    place = data.index(b"load_body") + len("load_body\n") + 10
    data[place] = 99
    with pytest.raises(ProtocolError, match="format 99"):
        loads(data)


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


@pytest.mark.parametrize("read", [loads, pickle.loads])
def test_arrays_out_of_band(read, notebook):
    """Their memory goes to `buffer_callback`, however little it is, and is what the arrays read show."""
    notebook.run("def f(x): return x + 1")
    small, large = np.arange(3), np.arange(300_000)
    kept = []
    data = dumps([small, b"x" * 500_000, large, notebook["f"]], buffer_callback=kept.append)
    assert [memoryview(buffer).nbytes for buffer in kept] == [small.nbytes, large.nbytes]
    assert len(data) < 600_000
    first, text, second, f = read(data, buffers=kept)
    assert np.shares_memory(first, small)
    assert np.shares_memory(second, large)
    assert (len(text), f(1)) == (500_000, 2)


def test_some_arrays_out_of_band():
    """What the callback returns something true for stays inside, as with pickle."""
    kept = []

    def keep_large(buffer):
        return len(buffer.raw()) < 1000 or kept.append(buffer)

    data = dumps([np.arange(n) for n in (5, 500, 6, 600)], buffer_callback=keep_large)
    assert [len(buffer.raw()) for buffer in kept] == [4000, 4800]
    assert [len(array) for array in loads(data, buffers=kept)] == [5, 500, 6, 600]
    with pytest.raises(ProtocolError, match="missing"):
        loads(data, buffers=kept[:1])
    for length in range(len(data)):
        with pytest.raises(ProtocolError):
            loads(data[:length], buffers=kept)


def test_a_forked_child_writes_into_memory_of_its_own():
    """Arrays that were read are the process's own, as any others are."""
    array = loads(dumps(np.zeros(1_000_000)))
    if (child := os.fork()) == 0:
        array[0] = 5
        os._exit(0)
    os.waitpid(child, 0)
    assert array[0] == 0
