"""Objects to buffers and back: shapes of the result, memory, namespaces, references."""

from __future__ import annotations

import collections
import pickle
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc_magic import serial
from rpc_magic.errors import ProtocolError, RemoteValueError, TransferError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=10)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers() | st.text(), inner, max_size=10)
    ),
    max_leaves=30,
)


def run(script):
    """Run a script in a process of its own and return what it prints."""
    script = textwrap.dedent(script)
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


@given(PLAIN)
def test_plain_values_are_one_pickle(value):
    """Plain data make exactly one buffer, which plain pickle could read too."""
    (buffer,) = serial.encode(value)
    assert serial.decode([buffer]) == value
    assert pickle.loads(buffer) == value


def test_large_bytes_and_text_leave_by_reference():
    """Large bytes objects are in the buffers themselves; all comes back in order."""
    data, array, text = b"d" * 1_000_000, bytearray(b"a" * 1_000_000), "t" * 1_000_000
    value = ["head", data, {"k": array}, list(range(100_000)), text, "tail"]
    buffers = serial.encode(value)
    assert any(buffer is data for buffer in buffers)
    assert any(buffer is array for buffer in buffers)
    assert serial.decode([memoryview(bytes(b)) for b in buffers]) == value


def test_arrays_leave_and_arrive_by_reference():
    """An array's buffer is its memory, the copy is built on the buffer given; small ones stay inside."""
    array = np.arange(100_000.0)
    head, buffer = serial.encode({"a": array, "small": np.arange(3)})
    assert np.shares_memory(np.frombuffer(buffer), array)
    target = bytearray(buffer)
    copy = serial.decode([head, target])
    assert np.shares_memory(copy["a"], np.frombuffer(target))
    copy["a"][0] = copy["small"][0] = 5
    assert not serial.decode([head, bytes(buffer)])["a"].flags.writeable


@pytest.mark.parametrize(
    "buffers", [[], [b""], [b"\x00" * 9], [b"R" * 8], [b"\x52\x01\x00\x00\x05\x00\x00\x00"]]
)
def test_what_is_no_encoding(buffers):
    """Buffers that cannot have come from `encode` are a ProtocolError."""
    with pytest.raises(ProtocolError):
        serial.decode(buffers)


def test_memory_of_256_mib():
    """256 MiB of array or bytes takes no second copy (arrays) or only the result (bytes)."""
    low, mid, high = run("""
        import resource, numpy as np
        from rpc_magic import serial
        def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        array = np.ones(256 << 17)
        blob = array.tobytes()
        before = peak()
        buffers = serial.encode({"a": array, "b": blob, "c": bytearray(1 << 20)})
        print(peak() - before)
        serial.decode(serial.encode({"a": array}))
        print(peak() - before)
        serial.decode(buffers)
        print(peak() - before)
    """)
    mib = 1024
    assert int(low) < 20 * mib
    assert int(mid) < 20 * mib
    assert int(high) < 300 * mib


def test_import_is_light():
    """Importing the package brings in neither dill nor numpy nor IPython."""
    out = run("""
        import sys
        import rpc_magic.serial
        print(*[name for name in ("dill", "numpy", "pandas", "pyarrow", "IPython") if name in sys.modules],
        "-")
    """)
    assert out == ["-"]


def test_encoding_imports_no_library(notebook):
    """Encoding plain objects and functions needs no dill."""
    out = run("""
        import sys
        from rpc_magic import serial
        class A: pass
        def f(x): return x + 1
        serial.decode(serial.encode([A(), f, lambda: A, {1: {2}}], namespace=globals()), namespace=globals())
        print("dill" in sys.modules, "numpy" in sys.modules)
    """)
    assert out == ["False", "False"]


def test_namespaces_are_bound_and_filled(notebook, other_notebook):
    """A function is bound to the receiver's namespace and brings the globals it refers to, and theirs."""
    notebook.run("k = 1\nunused = object()\ndef inner(): return k\ndef outer(): return inner() + 1")
    outer = other_notebook.decode(notebook.encode(notebook["outer"]))
    assert outer.__globals__ is other_notebook.namespace
    assert outer() == 2
    assert "unused" not in other_notebook.namespace
    other_notebook.namespace["k"] = 10
    assert outer() == 11


def test_carry_nothing(notebook, other_notebook):
    """With carry=False a function comes alone: the receiver's variables are the ones it sees."""
    notebook.run("k = 1\ndef f(): return k")
    other_notebook.namespace["k"] = 5
    f = other_notebook.decode(notebook.encode(notebook["f"], carry=False))
    assert f() == 5
    assert other_notebook["k"] == 5


def test_namespace_is_as_before_when_decoding_fails(notebook, other_notebook):
    """Carried globals are taken back when a later part of the stream fails."""
    notebook.run("""
        k = 1
        new = 2
        def f(): return k, new
        def fail(): raise OSError("no")
        class Fails:
            def __reduce__(self): return fail, ()
    """)
    other_notebook.namespace["k"] = "mine"
    before = dict(other_notebook.namespace)
    buffers = notebook.encode([notebook["f"], notebook["Fails"]()])
    with pytest.raises(OSError, match="no"):
        other_notebook.decode(buffers)
    assert other_notebook.namespace == before


def test_big_unused_globals_stay(notebook):
    """A function takes along what its code names, not what merely is there, nor attributes of equal name."""
    notebook.namespace["big"] = np.ones(1_000_000)
    notebook.run("def f(x): return x.big")
    assert sum(memoryview(b).nbytes for b in notebook.encode(notebook["f"])) < 2_000


def test_twenty_functions_are_quick(notebook):
    """A call graph of 20 functions, each calling the next three, is linear: well under 10 ms."""
    import time

    lines = [
        f"def f{i}(): return ({', '.join(f'f{j}' for j in range(i + 1, min(i + 4, 20)))})" for i in range(20)
    ]
    notebook.run("\n".join(lines))
    notebook.encode(notebook["f0"])
    best = min(_seconds(lambda: notebook.encode(notebook["f0"]), time.perf_counter) for _ in range(5))
    assert best < 0.01


def _seconds(action, clock):
    start = clock()
    action()
    return clock() - start


def test_strided_arrays_and_slices_ship_their_rows():
    """Views do not bring their whole parents."""
    pd = pytest.importorskip("pandas")
    arrow = pytest.importorskip("pyarrow")
    pl = pytest.importorskip("polars")
    frame = pd.DataFrame({"a": np.arange(100_000.0), "s": [str(i) for i in range(100_000)]})
    table = arrow.table({"a": np.arange(100_000), "s": frame["s"].to_numpy(dtype=object)})
    views = {
        "numpy": np.ones((1000, 1000))[::100, ::100],
        "pandas": frame.head(),
        "polars": pl.DataFrame(table).head(),
        "table": table.slice(0, 10),
        "batch": table.to_batches()[0].slice(5, 10),
        "chunked": table["s"].slice(3, 10),
        "array": table["s"].chunk(0).slice(3, 10),
    }
    sizes = {name: sum(memoryview(b).nbytes for b in serial.encode(view)) for name, view in views.items()}
    assert {name: size for name, size in sizes.items() if size > 10_000} == {}
    for name in ("table", "batch", "chunked", "array"):
        copy = serial.decode(serial.encode(views[name]))
        assert copy.equals(views[name])
        assert type(copy) is type(views[name])


def test_memmap_travels_as_an_array(tmp_path):
    """A file mapped into memory arrives as a plain array."""
    mapped = np.memmap(tmp_path / "m", dtype="f8", mode="w+", shape=(1000,))
    mapped[:] = 3
    copy = serial.decode(serial.encode(mapped))
    assert type(copy) is np.ndarray
    assert copy.sum() == 3000


def test_references_ask_the_running_decode():
    """A reference is answered by the decode that meets it; without one it is an error."""

    class Remote:
        def __reduce__(self):
            return serial.reference, ("session", "key")

    buffers = serial.encode([Remote(), Remote()])
    asked = []

    def resolve(session, key):
        asked.append((session, key))
        return serial.decode(serial.encode(collections.Counter("a"))) if len(asked) == 1 else 2

    assert serial.decode(buffers, resolve=resolve) == [{"a": 1}, 2]
    assert asked == [("session", "key")] * 2
    with pytest.raises(RemoteValueError, match="'key' of session 'session'"):
        serial.decode(buffers)


def test_decodes_of_threads_do_not_mix():
    """Each thread's decode has its own surroundings."""
    buffers = serial.encode([serial.encode(None)])
    barrier = threading.Barrier(4)
    results = {}

    class Remote:
        def __reduce__(self):
            return serial.reference, ("s", "k")

    buffers = serial.encode([Remote() for _ in range(50)])

    def work(number):
        def resolve(_session, _key):
            return number

        barrier.wait()
        results[number] = serial.decode(buffers, resolve=resolve)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {number: [number] * 50 for number in range(4)}


def test_capsules_are_refused():
    """A bare pointer does not travel."""
    import datetime as dt

    capsule = dt.datetime_CAPI
    with pytest.raises(TransferError, match="pointer"):
        serial.encode([capsule])


def test_main_module_is_the_receivers(notebook, peer):
    """A function that uses `__main__` uses that of the process it runs in."""
    notebook.run("import os, __main__\ndef f(): return __main__.__name__, os.getpid()")
    name, pid = peer.call(notebook, notebook["f"])
    assert name == "__main__"
    assert pid == peer._process.pid
