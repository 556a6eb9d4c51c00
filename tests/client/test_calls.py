"""Calls: values, exceptions, futures, order, output."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import io
import os
import sys
import time

import numpy as np
import pytest
from live import eventually, within

import rpc_magic
from rpc_magic import errors


def add(a, b=0):
    return a + b


class Oops(Exception):
    """An exception of the user's own, with a constructor of its own."""

    def __init__(self, code, *, detail):
        super().__init__(f"code {code}: {detail}")
        self.code, self.detail = code, detail


def raise_unpicklable():
    class Unpicklable(Exception):
        cannot = (i for i in "ab")

    raise Unpicklable("sorry")


class BadText(Exception):
    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


def raise_it(make):
    raise make()


def test_call_gives_the_value(conn):
    """Positional, keyword and no arguments; None, small and structured values."""
    assert conn.call(add, 2, 3) == 5
    assert conn.call(add, [1], b=[2]) == [1, 2]
    assert conn.call(lambda: None) is None
    assert conn.call(dict, a={"x": (1, 2)}) == {"a": {"x": (1, 2)}}
    assert conn.call(max, 3, 7) == 7


@pytest.mark.parametrize("size", [0, 1, 1000, 300_000, 20_000_000])
def test_arrays_of_any_size(conn, size):
    """An array goes there and another comes back, and the one that came is writable."""
    array = np.arange(size, dtype=np.uint8)
    back = conn.call(lambda a: a + 1, array)
    assert np.array_equal(back, array + 1)
    back[:1] = 0


def test_kinds_of_functions(conn):
    """Closures, lambdas, bound methods, partials, callable instances, recursion and mutual recursion travel."""
    base = 10

    class Adder:
        def __init__(self, n):
            self.n = n

        def add(self, x):
            return self.n + x

        def __call__(self, x):
            return self.add(x) * 2

    def fact(n):
        return 1 if n < 2 else n * fact(n - 1)

    def is_even(n):
        return n == 0 or is_odd(n - 1)

    def is_odd(n):
        return n > 0 and is_even(n - 1)

    assert conn.call(lambda x: x + base, 1) == 11
    assert conn.call(Adder(3).add, 4) == 7
    assert conn.call(Adder(3), 4) == 14
    assert conn.call(functools.partial(add, 1, b=2)) == 3
    assert conn.call(fact, 20) == fact(20)
    assert conn.call(is_even, 10) is True
    assert conn.call("abc".upper) == "ABC"
    base = 20
    assert conn.call(lambda x: x + base, 1) == 21


def test_async_function_is_awaited(conn):
    """A coroutine function gives its result."""

    async def slowly(x):
        await asyncio.sleep(0.01)
        return x * 2

    assert conn.call(slowly, 4) == 8


def test_own_exception_arrives_as_itself(conn):
    """Its class, its fields, its cause and the remote traceback arrive; the connection goes on."""

    def fail():
        try:
            {}["missing"]
        except KeyError as error:
            raise Oops(7, detail="x") from error

    with pytest.raises(Oops, match="code 7: x") as caught:
        conn.call(fail)
    assert (caught.value.code, caught.value.detail) == (7, "x")
    assert isinstance(caught.value.__cause__, KeyError)
    assert "in fail" in "".join(caught.value.__notes__)
    assert conn.call(add, 1, 1) == 2


def test_exception_that_cannot_travel(conn):
    """It arrives as RemoteError with type, message and traceback."""
    with pytest.raises(errors.RemoteError, match="sorry") as caught:
        conn.call(raise_unpicklable)
    assert caught.value.type_name.endswith("Unpicklable")
    assert caught.value.message == "sorry"
    assert "in raise_unpicklable" in caught.value.traceback


def test_exception_without_text(conn):
    """One whose __str__ and __repr__ raise still ends the call."""
    with pytest.raises((BadText, errors.RemoteError)):
        conn.call(raise_it, BadText)
    assert conn.call(add, 1, 1) == 2


def test_exception_class_known_only_there(conn):
    """A class that the session made and that is nowhere here arrives, as itself or as a RemoteError with its name."""
    with pytest.raises(Exception, match="there") as caught:
        conn.run("class OnlyThere(Exception): pass\nraise OnlyThere('there')")
    assert "OnlyThere" in (type(caught.value).__name__ + str(caught.value))


def test_exception_group(conn):
    """A group arrives with its members."""
    with pytest.raises(ExceptionGroup) as caught:
        conn.call(raise_it, lambda: ExceptionGroup("two", [ValueError(1), OSError(2, "no")]))
    assert [type(e) for e in caught.value.exceptions] == [ValueError, FileNotFoundError]


@pytest.mark.parametrize("code", [None, 0, 3, "bye"])
def test_system_exit(conn, code):
    """SystemExit arrives as RemoteExit with its code, and the session lives on."""
    before = conn.info().worker_pid
    with pytest.raises(errors.RemoteExit) as caught:
        conn.call(raise_it, lambda: SystemExit(code))
    assert caught.value.code == code
    with pytest.raises(errors.RemoteExit):
        conn.run("exit(4)")
    assert conn.call(add, 1, 1) == 2
    assert conn.info().worker_pid == before


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (KeyboardInterrupt, errors.RemoteInterrupt),
        (StopIteration, errors.RemoteStopIteration),
        (GeneratorExit, errors.RemoteGeneratorExit),
        (SystemExit, errors.RemoteExit),
    ],
)
def test_special_exceptions_in_futures(conn, raised, expected):
    """What would upset a future arrives as a subclass of RemoteError; the plain call raises the thing itself."""
    with pytest.raises(expected):
        conn.submit(raise_it, raised).result(30)
    if raised is not SystemExit:
        with pytest.raises(raised):
            conn.call(raise_it, raised)


def test_value_that_cannot_travel(conn):
    """The error names the type, and the connection goes on."""
    with pytest.raises(errors.TransferError, match="generator"):
        conn.call(lambda: (i for i in "ab"))
    with pytest.raises(errors.TransferError, match=r"\['b'\]\[1\].*generator"):
        conn.call(lambda: {"a": 1, "b": [1, (i for i in "ab")]})
    assert conn.call(add, 1, 1) == 2


def test_argument_that_cannot_travel(conn):
    """The error names the argument and nothing is called."""
    with pytest.raises(errors.TransferError, match=r"^b\['deep'\]\[0\] \(generator\)"):
        conn.call(add, 1, b={"deep": [(i for i in "ab")]})
    with pytest.raises(errors.TransferError, match=r"^args\[0\] \(generator\)"):
        conn.submit(print, (i for i in "ab"))
    with pytest.raises(errors.TransferError, match="Connection"):
        conn.call(add, conn, 1)
    with pytest.raises(errors.RpcMagicError, match="Call"):
        conn.call(add, conn.submit(add, 1, 1), 1)
    assert conn.call(add, 1, 1) == 2


def test_not_a_function(conn):
    """Something that cannot be called gives an error of one sentence, and the connection goes on."""
    with pytest.raises(TypeError):
        conn.call(3)
    with pytest.raises(TypeError):
        conn.submit(None)
    with pytest.raises(TypeError):
        conn.call(None)
    assert conn.call(add, 1, 1) == 2


def test_limit_is_applied_before_anything_is_sent(fresh):
    """What is over the server's limit raises LimitError here, and not a byte of it leaves."""
    fresh.call(add, 1, 1)
    link = next(iter(fresh.attachment.links.values()))
    link._payload, limit = 100_000, link._payload
    sent = fresh.info().bytes_sent
    with pytest.raises(errors.LimitError, match="100,000"):
        fresh.call(len, b"x" * 200_000)
    with pytest.raises(errors.LimitError):
        fresh.push(a=b"x" * 200_000)
    with pytest.raises(errors.LimitError):
        fresh.submit(len, b"x" * 200_000)
    assert fresh.info().bytes_sent - sent < 2000
    assert not link._listeners
    link._payload = limit
    assert fresh.call(len, b"x" * 200_000) == 200_000


def test_value_over_the_limit_stays_there(tmp_path, monkeypatch):
    """A value over the session's limit comes back as a RemoteValue that says its size."""
    with rpc_magic.connect() as conn:
        conn.run(
            "import gc\nfrom rpc_magic.worker.session import Session\n"
            "(session,) = [o for o in gc.get_objects() if type(o) is Session]\nsession.values._limit = 1000"
        )
        value = conn.call(lambda: b"x" * 5000)
        assert isinstance(value, rpc_magic.RemoteValue)
        assert "5," in repr(value)
        assert "1,000" in repr(value)
        assert conn.call(len, value) == 5000


# ---------------------------------------------------------------- futures


def test_submit_runs_in_order(conn):
    """Calls of a session run one at a time, in the order in which they were submitted."""

    def note(i):
        get_ipython().user_ns["seen"].append(i)  # noqa: F821

    conn.push(seen=[])
    calls = [conn.submit(note, i) for i in range(200)]
    concurrent.futures.wait(calls, 30)
    assert conn.pull("seen") == list(range(200))


def test_as_completed_and_callbacks(conn):
    """Calls work with as_completed; a callback runs once, with the call, and may submit more."""
    called, more = [], []

    def done(call):
        called.append(call)
        more.append(conn.submit(add, 100, call.result()))

    calls = [conn.submit(add, i) for i in range(20)]
    calls[3].add_done_callback(done)
    assert sorted(c.result() for c in concurrent.futures.as_completed(calls, 30)) == list(range(20))
    eventually(lambda: more)
    assert called == [calls[3]]
    assert more[0].result(30) == 103


def end_once_there(path):
    while not os.path.exists(path):  # noqa: PTH110 - a function that travels uses as little as it can
        time.sleep(0.01)
    return 1


def test_callback_must_not_block(conn, tmp_path):
    """A blocking call in a callback is refused with a sentence instead of hanging."""
    seen = []

    def done(_):
        try:
            conn.call(add, 1, 1)
        except errors.RpcMagicError as error:
            seen.append(str(error))

    # A callback that is added after the end runs where it is added: the call must not end before.
    conn.submit(end_once_there, str(tmp_path / "go")).add_done_callback(done)
    (tmp_path / "go").touch()
    assert "submit()" in eventually(lambda: seen)[0]
    assert conn.call(add, 1, 1) == 2


def test_await_and_wrap_future(conn):
    """A call can be awaited, and wrapped."""

    async def main():
        first = conn.submit(add, 1, 2)
        second = asyncio.wrap_future(conn.submit(add, 3, 4))
        return await first, await second

    assert asyncio.run(main()) == (3, 7)


def test_cancelled_task_cancels_its_call(conn):
    """Cancelling the task that awaits a call ends the call there."""

    async def main():
        call = conn.submit(time.sleep, 60)
        task = asyncio.ensure_future(asyncio.wait_for(call_of(call), 0.2))
        with contextlib.suppress(TimeoutError):
            await task
        return call

    async def call_of(call):
        return await call

    call = asyncio.run(main())
    assert call.cancelled()
    assert conn.call(add, 1, 1) == 2


def test_cancel_running_and_queued(conn):
    """cancel() ends a running call and takes a queued one out; it is true once and stays harmless."""
    running = conn.submit(time.sleep, 60)
    queued = conn.submit(lambda: globals().setdefault("ran", True))
    assert queued.cancel() is True
    eventually(lambda: conn.info().state == "busy")
    assert running.state == "pending"
    assert running.cancel() is True
    assert running.cancel() is True
    assert (running.state, queued.state) == ("cancelled", "cancelled")
    with within(5):
        assert conn.call(lambda: "ran" in globals()) is False
    with pytest.raises(concurrent.futures.CancelledError):
        running.result()
    done = conn.submit(add, 1)
    assert done.result(30) == 1
    assert done.cancel() is False


def test_result_with_timeout(conn):
    """result(timeout) leaves the call running, as for every future."""
    call = conn.submit(lambda: time.sleep(0.3) or 5)
    with pytest.raises(TimeoutError):
        call.result(0.01)
    assert call.result(30) == 5


def test_call_says_what_it_is(conn):
    """Repr and HTML name the function and the state; the label is escaped."""
    call = conn.submit(add, 1)
    call.result(30)
    assert "add: done" in repr(call)
    anonymous = conn.submit(lambda: 1)
    anonymous.result(30)
    assert "&lt;lambda&gt;" in anonymous._repr_html_()
    failed = conn.submit(raise_it, ValueError)
    failed.exception(30)
    assert failed.state == "failed"


def test_large_argument_may_change_after_submit(conn):
    """Submit returns when a large argument has been sent: a later change is not seen there."""
    array = np.zeros(30_000_000, dtype=np.uint8)
    call = conn.submit(lambda a: int(a.sum()), array)
    array[:] = 1
    assert call.result(60) == 0


def test_many_threads(conn):
    """Threads that call on the same connection get each their own results, small and large mixed."""

    def work(n):
        for i in range(30):
            payload = np.full(1 + (i % 5) * 60_000, n)
            assert int(conn.call(lambda a, k: a.sum() + k, payload, i)) == payload.sum() + i
        return n

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        assert sorted(pool.map(work, range(12))) == list(range(12))


def test_many_threads_with_small_calls(conn):
    """A caller that reads for itself is the only one, however quickly threads follow one another."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            assert list(pool.map(lambda n: conn.call(abs, -n), range(1500))) == list(range(1500))
    finally:
        sys.setswitchinterval(interval)


# ---------------------------------------------------------------- functions by digest


def test_unchanged_function_is_not_sent_again(fresh):
    """The second call of a function with a large constant sends a few bytes."""
    big = "x" * 100_000
    table = tuple(big + str(i) for i in range(2))

    def f(i):
        return len(table[i])

    fresh.call(f, 0)
    before = fresh.info().bytes_sent
    assert fresh.call(f, 1) == 100_001
    assert fresh.info().bytes_sent - before < 300


def test_edited_helper_is_seen(conn, monkeypatch):
    """Redefined helpers and changed mutable globals are seen by the next call."""
    main = conn.namespace
    exec("def helper_(): return 1\nsettings_ = {'a': 1}\ndef user_(): return helper_(), settings_['a']", main)
    try:
        assert conn.call(main["user_"]) == (1, 1)
        exec("def helper_(): return 2", main)
        assert conn.call(main["user_"]) == (2, 1)
        main["settings_"]["a"] = 5
        assert conn.call(main["user_"]) == (2, 5)
    finally:
        for name in ("helper_", "settings_", "user_"):
            del main[name]


def test_forgotten_functions_are_sent_again(fresh):
    """More functions than a session remembers: the first ones work again, called and submitted."""
    functions = [eval(f"lambda: {i}") for i in range(1100)]
    calls = [fresh.submit(f) for f in functions]
    assert [c.result(60) for c in calls] == list(range(1100))
    assert fresh.call(functions[0]) == 0
    assert fresh.submit(functions[1]).result(30) == 1
    assert [c.result(30) for c in [fresh.submit(f) for f in functions[:50]]] == list(range(50))


def test_after_restart_functions_are_known_again(fresh):
    """A restarted session is given the functions again."""
    assert fresh.call(add, 1, 2) == 3
    fresh.restart()
    assert fresh.call(add, 1, 2) == 3
    assert fresh.submit(add, 1, 2).result(30) == 3


# ---------------------------------------------------------------- output


def printed(conn, f, *args):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        conn.call(f, *args)
    return out.getvalue(), err.getvalue()


def test_output_of_a_call(conn):
    """Print and standard error go to the caller's streams before the call returns."""

    def f():
        import sys

        print("one")
        print("two", file=sys.stderr)

    assert printed(conn, f) == ("one\n", "two\n")


def test_output_of_descriptors_and_children(conn):
    """os.write, child processes and C's printf are seen, all of it before the call returns."""

    def f():
        import ctypes
        import os
        import subprocess
        import sys

        print("python")
        sys.stdout.flush()
        os.write(1, b"descriptor\n")
        subprocess.run(["echo", "child"], check=True)
        ctypes.CDLL(None).printf(b"c library\n")
        os.write(2, b"error\n")

    out, err = printed(conn, f)
    assert sorted(out.splitlines()) == ["c library", "child", "descriptor", "python"]
    assert out.index("descriptor") < out.index("child")
    assert err == "error\n"


def test_much_output_is_complete(conn):
    """A megabyte of lines arrives whole and in order."""

    def f():
        for i in range(100_000):
            print(i)

    out, _ = printed(conn, f)
    assert out.split() == [str(i) for i in range(100_000)]


def test_stray_output_with_a_broken_stdout(fresh, monkeypatch):
    """Output after a call's end, while sys.stdout is broken here, harms nothing."""

    class Broken:
        def write(self, text):
            raise ValueError("I/O operation on closed file")

        flush = write

    def f():
        import threading
        import time

        def later():
            time.sleep(0.05)
            print("late")
            time.sleep(0.05)
            get_ipython().user_ns["printed"] = True  # noqa: F821

        threading.Thread(target=later).start()

    monkeypatch.setattr("sys.stdout", Broken())
    fresh.call(f)
    eventually(lambda: fresh.call(lambda: "printed" in get_ipython().user_ns))  # noqa: F821
    assert fresh.submit(add, 1, 1).result(10) == 2


def test_background_child_that_writes_for_ever(fresh):
    """A child process that writes endlessly keeps neither this session's calls nor another's."""

    def start():
        import subprocess

        return subprocess.Popen(["yes"], stderr=subprocess.DEVNULL).pid

    with contextlib.redirect_stdout(io.StringIO()):
        pid = fresh.call(start)
        try:
            with rpc_magic.connect() as other, within(5):
                assert other.call(add, 1, 1) == 2
                assert other.run("print(1)").stdout == "1\n"
            with within(8):
                assert fresh.call(add, 1, 1) == 2
        finally:
            import os

            os.kill(pid, 9)
