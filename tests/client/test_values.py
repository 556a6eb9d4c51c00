"""Variables, cells, and values that stay there."""

from __future__ import annotations

import collections
import contextlib
import gc
import io
import os
import signal
import sys
import time
import types

import numpy as np
import pytest
from live import eventually

import rpc_magic
from rpc_magic import errors
from rpc_magic.client import class_of
from rpc_magic.wire import messages
from rpc_magic.wire.messages import MapTask


def add(a, b=0):
    return a + b


def test_push_and_pull(conn):
    """One name gives the value, several a tuple; what two share stays shared; any name is allowed."""
    shared = [1]
    conn.push(a=shared, b=(shared, 2), self=3)
    conn.run("a.append(5)")
    assert conn.pull("b") == ([1, 5], 2)
    a, b = conn.pull("a", "b")
    assert a is b[0]
    assert conn.pull("self") == 3
    assert conn.pull("b", "self") == (([1, 5], 2), 3)
    assert conn.pull() == ()


def test_missing_names(conn):
    """A NameError that is also an RpcMagicError, naming all that miss."""
    conn.push(there=1)
    with pytest.raises(NameError, match="'no_such', 'nor_this'") as caught:
        conn.pull("there", "no_such", "nor_this")
    assert isinstance(caught.value, errors.RpcMagicError)
    assert caught.value.missing == ("no_such", "nor_this")


def test_variables_that_cannot_travel(conn):
    """The error starts with the variable's name; nothing is set; what cannot come stays."""
    with pytest.raises(errors.TransferError, match=r"^bad\[0\]"):
        conn.push(good=1, bad=[(i for i in "a")])
    with pytest.raises(NameError):
        conn.pull("good")
    conn.run("stuck = {'deep': [i for i in [iter_ for iter_ in [(j for j in 'a')]]]}")
    with pytest.raises(errors.TransferError, match=r"^stuck"):
        conn.pull("stuck")
    assert conn.run("'deep' in stuck").value is True


def test_run(conn):
    """Value, outputs, streams, displays, counts and duration."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        result = conn.run("y = x + 1\nprint('hello')\ny * 2", inputs={"x": 20}, outputs=["y"])
    assert (result.value, result.outputs, result.stdout) == (42, {"y": 21}, "hello\n")
    assert out.getvalue() == "hello\n"
    assert result.duration >= 0
    assert conn.run("1").execution_count == result.execution_count + 1
    assert conn.run("y = 1").value is None
    assert conn.run("").value is None


def test_run_takes_what_it_says(conn):
    """Arguments of another kind are refused with a sentence, before anything is sent."""
    with pytest.raises(TypeError, match="text of a cell, not int"):
        conn.run(3)
    with pytest.raises(TypeError, match=r"outputs=\['ab'\]"):
        conn.run("ab = 1", outputs="ab")
    with pytest.raises(TypeError, match="mapping of names"):
        conn.run("1", inputs=["x"])
    assert conn.run("1").value == 1


def test_run_of_everything_else(conn):
    """Magics, shell commands, top-level await, display, standard error; a trailing semicolon silences."""
    seen = []
    cell = """
import asyncio, sys
from IPython.display import display
await asyncio.sleep(0)
display({'text/plain': 'shown'}, raw=True)
print('bad', file=sys.stderr)
!echo from the shell
%cd -q /
7"""
    result = conn.run(cell, on_output=seen.append)
    assert result.value == 7
    assert result.stderr == "bad\n"
    assert "from the shell" in result.stdout
    assert result.display[0]["text/plain"] == "shown"
    assert len(seen) >= 3
    with contextlib.redirect_stdout(io.StringIO()) as out:
        conn.run("1 + 1;")
    assert out.getvalue() == ""


def test_errors_in_cells(conn):
    """The user's exception, a syntax error and a failing output."""
    with pytest.raises(ZeroDivisionError):
        conn.run("1/0")
    with pytest.raises(SyntaxError):
        conn.run("def f(:")
    with pytest.raises(NameError, match="nothing_here"):
        conn.run("1", outputs=["nothing_here"])
    with pytest.raises(errors.TransferError, match=r"^bad"):
        conn.run("1", inputs={"bad": (i for i in "a")})
    assert conn.run("1 + 1").value == 2


def test_output_that_cannot_travel_stays(conn):
    """An output that cannot travel comes as a RemoteValue, not as silence."""
    result = conn.run("gen = (i for i in 'abc')\nn = 1", outputs=["gen", "n"])
    assert result.outputs["n"] == 1
    assert isinstance(result.outputs["gen"], rpc_magic.RemoteValue)
    assert conn.call(next, result.outputs["gen"]) == "a"


def test_callback_that_raises(conn):
    """An exception of on_output reaches the caller, the cell is not left running, the connection goes on."""

    def fail(message):
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        conn.run("print(1, flush=True)\nimport time; time.sleep(20)", on_output=fail)
    call = conn.submit(add, 1, 1)
    assert call.result(10) == 2


# ---------------------------------------------------------------- remote values


def test_put_get_and_use(fresh):
    """A kept value is used by calls without moving; get() fetches it."""
    array = np.arange(3_000_000)
    remote = fresh.put(array)
    sent, received = fresh.info().bytes_sent, fresh.info().bytes_received
    assert fresh.call(lambda a: int(a.sum()), remote) == int(array.sum())
    assert fresh.call(lambda d: len(d["deep"][0]), {"deep": [remote]}) == 3_000_000
    assert list(fresh.map(lambda a, i: int(a[i]), [remote] * 4, range(4))) == [0, 1, 2, 3]
    fresh.push(also=remote)
    assert fresh.run("also is not None and len(also)").value == 3_000_000
    assert fresh.info().bytes_sent - sent < 20_000
    assert fresh.info().bytes_received - received < 20_000
    assert np.array_equal(remote.get(), array)
    assert "numpy.ndarray" in repr(remote)


def test_remote_value_is_dropped_with_its_last_reference(fresh):
    """When nobody here refers to a kept value any more, the session forgets it."""
    fresh.run("import gc, weakref; seen = []")

    class Big:
        pass

    value = fresh.put(Big())
    fresh.call(lambda b: get_ipython().user_ns["seen"].append(__import__("weakref").ref(b)), value)  # noqa: F821
    assert fresh.run("gc.collect(); seen[0]() is not None").value is True
    del value
    gc.collect()
    eventually(lambda: fresh.run("gc.collect(); seen[0]() is None").value)


def test_misuse_of_remote_values(conn):
    """Whatever else is done with one says where it is and how to fetch it."""
    remote = conn.put([1, 2])
    for use in (
        lambda: len(remote),
        lambda: remote[0],
        lambda: remote + 1,
        lambda: 1 + remote,
        lambda: bool(remote),
        lambda: list(remote),
        remote,
        lambda: remote.append(3),
        lambda: remote < 2,
        lambda: remote == [1, 2] or remote > 1,
        lambda: int(remote),
        lambda: setattr(remote, "x", 1),
        lambda: f"{remote:.2f}",
    ):
        with pytest.raises((rpc_magic.RemoteValueError, AttributeError, TypeError)):
            use()
    with pytest.raises(rpc_magic.RemoteValueError, match=r"\.get\(\)"):
        len(remote)
    assert not hasattr(remote, "shape")
    assert {remote: 1}[remote] == 1


def test_dir_of_a_remote_value(fresh):
    """The server's answer; a closed connection's value has what its class has here."""
    kept = fresh.put({"a": 1})
    assert {"keys", "__len__", "get"} <= set(dir(kept))
    only = fresh.run("class Only:\n    def there(self): pass\nOnly()").value
    assert "there" in dir(only)
    fresh.close()
    assert {"keys", "get"} <= set(dir(kept))
    assert "there" not in dir(only)


def test_how_a_remote_value_looks(fresh):
    """What is known of it; of a table the first rows, for which the server is asked; of anything else its preview."""
    pd = pytest.importorskip("pandas")
    table = fresh.put(pd.DataFrame({"<col>": range(100)}))
    bundle, _ = table._repr_mimebundle_()
    assert "100 rows \N{MULTIPLICATION SIGN} 1 columns" in bundle["text/plain"]
    assert bundle["text/html"].count("<tr") == 6
    assert "&lt;col&gt;" in bundle["text/html"]
    array = fresh.put(np.arange(3))
    assert "[0, 1, 2]" in repr(array)
    assert "<pre>[0, 1, 2]</pre>" in array._repr_mimebundle_()[0]["text/html"]
    fresh.close()
    assert "<pre>&lt;col&gt;</pre>" in table._repr_mimebundle_()[0]["text/html"]


def test_a_question_at_the_prompt_has_an_answer_at_once_or_none(fresh):
    """A busy session gives none, and does afterwards; what the function raises is none either."""
    kept = fresh.put([3, 4])
    ask = fresh.exchange.call_soon
    assert ask(len, kept) == 2
    assert ask(float, kept) is None
    call = fresh.submit(time.sleep, 60)
    assert ask(len, kept) is None
    call.cancel()
    eventually(lambda: ask(len, kept) == 2)


def test_how_far_a_call_has_come(fresh):
    """While the session is stopped an upload stands still, and is told of ten times a second; None at the end."""
    seen = []

    def watch(transfer):
        seen.append(transfer)
        if transfer is not None:
            os.kill(fresh.info().worker_pid, signal.SIGCONT)

    array = np.zeros(4_000_000)
    assert fresh.call(len, array[:10]) == 10
    os.kill(fresh.info().worker_pid, signal.SIGSTOP)
    fresh.exchange.watch = watch
    assert fresh.call(len, array) == 4_000_000
    assert seen[-1] is None
    first = next(one for one in seen if one is not None)
    assert first.is_upload
    assert 0 <= first.done < first.total
    assert array.nbytes <= first.total < array.nbytes + 10_000


def test_remote_value_of_another_session(conn, fresh):
    """Given to another session, or after a restart, it is refused with a sentence."""
    remote = conn.put([1, 2])
    with pytest.raises(rpc_magic.RemoteValueError, match=r"not in this session"):
        fresh.call(len, remote)
    mine = fresh.put([1])
    fresh.restart()
    with pytest.raises(errors.RpcMagicError, match="went with its session"):
        mine.get()
    with pytest.raises(rpc_magic.RemoteValueError):
        fresh.call(len, mine)
    assert fresh.call(add, 1, 1) == 2


def test_remote_value_of_a_variable_follows_it(fresh):
    """One that stands for a variable gives its present value, on the engine too."""
    from rpc_magic.wire import messages

    fresh.run("v = [1]")
    remote = fresh.remote_value(messages.ValueInfo("", "list"), "v")
    assert fresh.call(len, remote) == 1
    assert list(fresh.map(len, [remote] * 4, chunksize=1)) == [1] * 4
    fresh.run("v = [1, 2]")
    assert remote.get() == [1, 2]
    assert fresh.call(len, remote) == 2
    assert list(fresh.map(len, [remote] * 4, chunksize=1)) == [2] * 4


# ---------------------------------------------------------------- results="data"


@pytest.fixture(scope="module")
def plain():
    with rpc_magic.connect(results="data") as connection:
        yield connection


def test_plain_results(plain):
    """Plain data and arrays come; anything else stays there as a RemoteValue that can be used there."""
    assert plain.call(lambda: {"a": [1, 2.5, "x", None, (True, b"y")]}) == {
        "a": [1, 2.5, "x", None, (True, b"y")]
    }
    assert np.array_equal(plain.call(np.arange, 3), [0, 1, 2])

    class Thing:
        pass

    value = plain.call(Thing)
    assert isinstance(value, rpc_magic.RemoteValue)
    assert "not plain data" in repr(value)
    assert plain.call(lambda v: type(v).__name__, value) == "Thing"
    with pytest.raises(errors.RpcMagicError):
        plain.call(value.get)


def test_plain_is_a_client_s_own_wish():
    """A session that had a client for data only sends the next one what that one wants, and the other way round."""
    for results, kind in (("data", rpc_magic.RemoteValue), ("any", collections.OrderedDict)) * 2:
        with rpc_magic.connect(session="wishes", results=results) as one:
            assert type(one.call(collections.OrderedDict)) is kind


def test_plain_exceptions(plain):
    """An exception is not loaded but told: RemoteError with type and message."""
    with pytest.raises(errors.RemoteError, match="division") as caught:
        plain.call(lambda: 1 / 0)
    assert caught.value.type_name == "ZeroDivisionError"
    with pytest.raises(errors.RemoteExit):
        plain.call(exit, 3)
    with pytest.raises(errors.RemoteError):
        plain.run("1/0")


def test_plain_variables(plain):
    """Pulled one by one or several at once, what is no plain data comes as a RemoteValue for that variable."""
    plain.run("a, b, c = 1, object(), [2]")
    assert plain.pull("a", "c") == (1, [2])
    alone = plain.pull("b")
    assert isinstance(alone, rpc_magic.RemoteValue)
    assert plain.call(lambda o: type(o).__name__, alone) == "object"
    a, b, c = plain.pull("a", "b", "c")
    assert (a, c) == (1, [2])
    assert plain.call(lambda o: type(o).__name__, b) == "object"
    result = plain.run("d, e = 1, object()\nobject()", outputs=["d", "e"])
    assert result.outputs["d"] == 1
    assert isinstance(result.outputs["e"], rpc_magic.RemoteValue)
    assert isinstance(result.value, rpc_magic.RemoteValue)


def test_plain_refuses_pickles_of_a_hostile_server(plain):
    """A server that sends a pickle all the same: nothing is loaded."""
    try:
        with pytest.raises(errors.ProtocolError):
            plain.run(
                "import gc\nfrom rpc_magic.worker.session import Session\n"
                "(session,) = [o for o in gc.get_objects() if type(o) is Session]\nsession.values.is_plain = False"
            )
        with pytest.raises(errors.ProtocolError):
            plain.call(lambda: {1, 2})
        with pytest.raises(errors.RpcMagicError):
            plain.run("{1, 2}")
    finally:
        plain.restart()


def test_plain_map(plain):
    """The engine's results are plain as well."""
    assert list(plain.map(add, [1, 2], [3, 4])) == [4, 6]


def test_plain_map_loads_nothing(plain):
    """What the engine's processes give is data too: an object is an error, an exception is told and not loaded."""
    with pytest.raises(errors.RemoteError, match="plain data") as caught:
        list(plain.map(lambda n: object(), [1]))
    assert caught.value.type_name == "rpc_magic.errors.TransferError"
    with pytest.raises(errors.RemoteError, match="division"):
        plain.pool.submit(lambda: 1 / 0).result(30)


def test_plain_map_refuses_pickles_of_a_hostile_server(plain, monkeypatch):
    """A server that answers a task with a pickle all the same: nothing is loaded."""
    monkeypatch.setattr(messages, "MapTask", lambda digest, _: MapTask(digest))
    for task in (lambda n: n, lambda n: 1 / 0):
        with pytest.raises(errors.ProtocolError, match="nothing was loaded"):
            list(plain.map(task, [1]))


def test_plain_tables(plain):
    """Arrow tables are data, with dictionaries and nested columns; a frame of pandas, or a table of classes, stays."""
    made = plain.call(
        lambda: __import__("pyarrow").table(
            {
                "a": [1, None],
                "b": [["x"], []],
                "c": __import__("pyarrow").array(["p", "q"]).dictionary_encode(),
            }
        )
    )
    assert made.to_pydict() == {"a": [1, None], "b": [["x"], []], "c": ["p", "q"]}
    for text in (
        "import pandas; pandas.DataFrame({'a': [1]})",
        "import pyarrow as pa; import pandas; pa.table({'a': pa.array(pandas.period_range('2020', periods=1))})",
    ):
        value = plain.run(text).value
        assert isinstance(value, rpc_magic.RemoteValue)
        assert isinstance(value.get(), rpc_magic.RemoteValue)


def test_plain_values_show_no_page_of_the_server(plain):
    """What stays there is shown as text of ours: a page would run the scripts of what the server renders."""
    value = plain.run("class Rich:\n def _repr_html_(self): return '<script>alert(1)</script>'\nRich()").value
    data, _ = value._repr_mimebundle_()
    assert list(data) == ["text/plain"]
    assert "script" not in data["text/plain"].replace("<RemoteValue", "")


def test_class_of_a_value_imports_nothing():
    """The class that a type's name stands for is looked up in what is loaded; no module is asked to import anything."""
    asked = []
    module = types.ModuleType("lazy_one")
    module.__getattr__ = asked.append
    sys.modules["lazy_one"] = module
    try:
        value = rpc_magic.RemoteValue(None, messages.ValueInfo("", "lazy_one.Thing"), "")
        assert class_of(value) is None
        assert asked == []
    finally:
        del sys.modules["lazy_one"]
    value = rpc_magic.RemoteValue(None, messages.ValueInfo("", "collections.OrderedDict"), "")
    assert class_of(value).__name__ == "OrderedDict"
