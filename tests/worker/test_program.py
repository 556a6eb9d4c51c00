"""A server inside a program: functions that a program exposes, and who may call them."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import ssl
import sys
import time
from contextlib import closing
from pathlib import Path

import msgspec
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "client"))

from live import SECONDS, Script, all_gone, eventually, family, served

import rpc_magic
from rpc_magic import errors
from rpc_magic.server.certificates import new_identity
from rpc_magic.transport.tls import certificate_hash
from rpc_magic.wire import messages
from rpc_magic.worker.calls import Calls
from rpc_magic.worker.exposed import Exposed

PROGRAM = """
import sys, time, threading, os
import rpc_magic

server = rpc_magic.Server({arguments})
state = {{"count": 0}}

@server.register
def add(a, b=2, *rest, key: int = 3):
    '''Add things.

    With a second paragraph.'''
    return a + b

@server.register(name="bump")
def _(n=1):
    state["count"] += n
    return state["count"]

@server.register
def fail():
    raise LookupError("not here")

class Shop(Exception): pass

@server.register
def fail_own():
    try: 1/0
    except ZeroDivisionError as e: raise Shop("closed") from e

@server.register
def leave(): sys.exit(3)
@server.register
def size(a): return len(a)
@server.register
def echo(a): return a
@server.register
def sleep(s):
    time.sleep(s); return os.getpid()
@server.register
def thing(): return threading.Lock
@server.register
def unpicklable(): return (i for i in "a")
@server.register
def where(): return threading.current_thread() is threading.main_thread()
barrier = threading.Barrier(3)
@server.register
def meet(): return barrier.wait(20)

server.serve_forever()
print("ended", flush=True)
"""


@pytest.fixture
def program(tmp_path):
    """Start a program that exposes functions; gives it and its URL."""
    started = []

    def start(arguments="", text=PROGRAM):
        one = Script(text.format(arguments=arguments), tmp_path)
        started.append(one)
        return one, one.line()

    yield start
    for one in started:
        one.close()


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """One such program for the tests that leave it as it was."""
    one = Script(PROGRAM.format(arguments=""), tmp_path_factory.mktemp("shop"))
    yield one.line()
    one.signal(signal.SIGINT)
    assert one.finish() == "ended\n"
    one.close()


@pytest.fixture
def conn(shop):
    with rpc_magic.connect(shop) as connection:
        yield connection


def test_tutorial(shop):
    """The classic: connect, call by name, keywords and defaults."""
    with rpc_magic.connect(shop) as conn:
        assert conn.call("add", 2, 3) == 5
        assert conn.call("add", 2) == 4
        assert conn.call("add", a=1, b=1) == 2
        assert conn.functions.add("a", "b") == "ab"
        assert conn.functions["add"](1) == 3
        assert conn.functions.add.submit(2, 2).result(30) == 4


def test_functions_are_described(conn):
    """dir(), signature, docstring, hasattr and repr."""
    import inspect

    assert {"add", "bump", "fail"} <= set(dir(conn.functions))
    function = conn.functions.add
    assert str(inspect.signature(function)) == "(a, b=2, *rest, key: int = 3)"
    assert inspect.getdoc(function) == "Add things.\n\nWith a second paragraph."
    assert not hasattr(conn.functions, "no_such")
    with pytest.raises(errors.UnknownFunctionError, match="'add'"):
        conn.functions.ad  # noqa: B018 - asking is what raises
    assert "add" in repr(conn.functions)


def test_a_cancel_strikes_its_own_call_only(program):
    """Cancels that come as their call ends hit neither the answers on the wire nor the next client's call."""
    one, url = program()
    with rpc_magic.connect(url) as hasty, rpc_magic.connect(url) as calm:
        for n in range(150):
            call = hasty.submit("sleep", 0.001)
            other = calm.submit("echo", bytes([n]) * 20_000)
            time.sleep(0.0001 * (n % 20))
            call.cancel()
            assert other.result(30) == bytes([n]) * 20_000
        assert hasty.call("add", 2, 3) == 5
    one.signal(signal.SIGINT)
    assert one.finish() == "ended\n"


def test_a_cancel_that_comes_too_late():
    """Nothing is kept of it: a program may run for months."""
    calls = Calls(Exposed("any"), 1)
    calls.take(None, 7, messages.CancelCall(7), [])
    assert not calls._cancelled
    calls.end()


def test_state_is_shared(shop):
    """All clients see one state, and nothing is lost when they call at once."""
    with rpc_magic.connect(shop) as first, rpc_magic.connect(shop) as second:
        before = first.call("bump", 0)
        calls = [one.submit("bump") for _ in range(50) for one in (first, second)]
        assert sorted(c.result(30) for c in calls) == list(range(before + 1, before + 101))
        assert second.call("where") is True


def test_errors(conn):
    """The function's own exceptions, a class known only there, sys.exit, unknown names, values that cannot travel."""
    with pytest.raises(LookupError, match="not here"):
        conn.call("fail")
    with pytest.raises(Exception, match="closed") as caught:
        conn.call("fail_own")
    assert "Shop" in type(caught.value).__name__ + str(caught.value)
    with pytest.raises(errors.RemoteExit):
        conn.call("leave")
    with pytest.raises(errors.UnknownFunctionError, match="'add'") as unknown:
        conn.call("addd")
    assert isinstance(unknown.value, LookupError)
    with pytest.raises(TypeError):
        conn.call("add")
    with pytest.raises(errors.TransferError, match="generator"):
        conn.call("unpicklable")
    assert conn.call("add", 1, 1) == 2


def test_large_arguments(conn):
    """Fifty megabytes go there and come back."""
    assert conn.call("size", b"x" * 50_000_000) == 50_000_000
    array = np.arange(6_000_000)
    assert np.array_equal(conn.call("echo", array), array)


def test_sessions_beside(conn):
    """Functions of the client run in a session of their own beside the program."""
    assert conn.call(lambda: "count" in globals()) is False
    assert conn.run("1 + 1").value == 2


def test_cancel_and_ctrl_c_of_a_client(conn):
    """A client's cancelled call ends in the program, which goes on for everybody."""
    queued = [conn.submit("sleep", 20), conn.submit("bump", 1000)]
    before = time.monotonic()
    time.sleep(0.2)
    assert queued[1].cancel()
    assert queued[0].cancel()
    assert conn.call("add", 1, 1) == 2
    assert time.monotonic() - before < 10
    assert conn.call("bump", 0) < 1000


def test_threads(program):
    """threads=3: three calls really run at once; more wait."""
    _, url = program("threads=3")
    with rpc_magic.connect(url) as conn:
        calls = [conn.submit("meet") for _ in range(3)]
        assert sorted(c.result(30) for c in calls) == [0, 1, 2]
        with concurrent.futures.ThreadPoolExecutor(6) as pool:
            assert list(pool.map(lambda n: conn.call("add", n, 1), range(60))) == list(range(1, 61))


def test_plain_data_only(program):
    """sessions=False, arguments="data": nothing but the functions, nothing but plain data, no unpickling."""
    _, url = program('sessions=False, arguments="data"')
    with rpc_magic.connect(url) as conn:
        assert conn.call("add", [1], [2]) == [1, 2]
        assert conn.call("echo", {"a": (1, None, 2.5)}) == {"a": (1, None, 2.5)}
        assert np.array_equal(conn.call("echo", np.arange(3)), np.arange(3))
        with pytest.raises(errors.TransferError):
            conn.call("echo", object())
        with pytest.raises(errors.TransferError):
            conn.call("echo", len)
        for use in (lambda: conn.call(abs, -1), lambda: conn.run("1"), lambda: conn.push(a=1)):
            with pytest.raises(errors.RpcMagicError, match="nothing else"):
                use()
        with pytest.raises(errors.RpcMagicError, match="nothing else"):
            list(conn.map(abs, [1]))
        assert conn.info().state == "none"
        # A client that sends a pickle all the same.
        conn.attachment.welcome = msgspec.structs.replace(conn.attachment.welcome, plain_arguments=False)
        with pytest.raises(errors.RpcMagicError, match="plain data only"):
            conn.call("echo", 1)


def test_program_killed(program):
    """A killed program takes its supervisor and its sessions with it; clients are told."""
    one, url = program()
    conn = rpc_magic.connect(url)
    conn.call(abs, -1)
    pids = family(one.pid)
    assert len(pids) >= 4
    waiting = conn.submit("sleep", 600)
    eventually(lambda: conn.call(abs, -1))
    one.process.kill()
    with pytest.raises(errors.ConnectionLostError):
        waiting.result(10)
    conn.close()
    all_gone(pids)


def test_ctrl_c_ends_the_program(program):
    """Ctrl-C in the program ends serve_forever, while a function runs too; the program goes on after it."""
    one, url = program()
    with rpc_magic.connect(url) as conn:
        running = conn.submit("sleep", 600)
        conn.call(abs, -1)
        pids = family(one.pid) - {one.pid}
        time.sleep(0.1)
        one.signal(signal.SIGINT)
        with pytest.raises(errors.RpcMagicError):
            running.result(10)
    assert one.finish() == "ended\n"
    all_gone(pids)


def test_registering():
    """What cannot be exposed is refused with a sentence."""
    server = rpc_magic.Server()
    with pytest.raises(TypeError, match="int"):
        server.register(3)
    with pytest.raises(ValueError, match="name="):
        server.register(lambda: 1)

    def f():
        pass

    assert server.register(f) is f
    server.register(f)
    server.register(f, name="g")
    with pytest.raises(ValueError, match="already"):
        server.register(lambda: 1, name="f")
    with pytest.raises(ValueError, match="threads"):
        rpc_magic.Server(threads=0)
    with pytest.raises(ValueError, match="arguments"):
        rpc_magic.Server(arguments="all")
    server.close()
    server.close()


def test_port_that_is_taken(shop):
    """The error names the port."""
    server = rpc_magic.Server(shop)
    with pytest.raises(errors.ConnectError, match="taken"):
        server.start()
    server.close()


def test_own_certificate(tmp_path):
    """A program's server shows the certificate that it is given, wherever it listens; key beside it or in a file."""
    pem = new_identity()
    mark = pem.index(b"-----BEGIN CERTIFICATE-----")
    for name, content in (("both.pem", pem), ("key.pem", pem[:mark]), ("cert.pem", pem[mark:])):
        (tmp_path / name).touch(0o600)
        (tmp_path / name).write_bytes(content)
    fingerprint = certificate_hash(ssl.PEM_cert_to_DER_cert(pem[mark:].decode())).hex()
    own = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    for url, files in (
        ("0.0.0.0:0", own),
        (None, {"tls_cert": tmp_path / "both.pem"}),
        ("localhost:0", own),
        ("rpc://127.0.0.1:0", own),
    ):
        with rpc_magic.Server(url, threads=2, **files) as server:
            server.register(abs)
            assert server.url.startswith("rpc://")
            assert server.url.endswith(f"/?fp={fingerprint}")
            with rpc_magic.connect(server.url) as conn:
                assert conn.call("abs", -1) == 1


def test_a_certificate_that_cannot_be_used(tmp_path):
    """One sentence says which file, or which arguments do not fit together."""
    with pytest.raises(ValueError, match="as tls_cert"):
        rpc_magic.Server(tls_key="key.pem")
    for url in ("tcp://127.0.0.1:0", "unix:///s"):
        with pytest.raises(ValueError, match="write rpc://HOST:PORT"):
            rpc_magic.Server(url, tls_cert="cert.pem")
    with (
        closing(rpc_magic.Server(tls_cert=tmp_path / "none.pem")) as server,
        pytest.raises(errors.ConnectError) as caught,
    ):
        server.start()
    assert str(caught.value) == (
        "cannot connect to rpc://127.0.0.1:0: the server could not be started: "
        f"the TLS certificate in {tmp_path}/none.pem cannot be used: No such file or directory."
    )


def test_register_while_serving():
    """start() serves beside the program's own work when there are threads; functions may be added meanwhile."""
    with rpc_magic.Server(threads=2) as server, rpc_magic.connect(server.url) as conn:
        with pytest.raises(errors.UnknownFunctionError):
            conn.call("late")
        server.register(lambda: "there", name="late")
        assert conn.call("late") == "there"


def test_exposed_modules(tmp_path, monkeypatch):
    """--expose: the public functions of a module; errors of the import are told at the start."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "goods.py").write_text("from math import sqrt\ndef price(): return 5\ndef _hidden(): pass\n")
    (tmp_path / "empty_shop.py").write_text("x = 1\n")
    with served(expose=("goods",), sessions=False) as url, rpc_magic.connect(url) as conn:
        assert conn.call("price") == 5
        assert set(dir(conn.functions)) == {"all", "price"}
    for module in ("empty_shop", "no_such_shop"):
        with pytest.raises(errors.ConnectError, match="exposed"), served(expose=(module,), sessions=False):
            pass


SLOW = """
import pathlib, time
def wait(begun, go):
    pathlib.Path(begun).touch()
    while not pathlib.Path(go).exists():
        time.sleep(0.01)
    return bytes(3_000_000)
"""
SLOW_SERVER = (
    SLOW
    + """
import rpc_magic
server = rpc_magic.Server(threads=THREADS, sessions=False)
server.register(wait)
server.serve_forever()
"""
)


def check_calls_get_their_time(conn, tmp_path, tell):
    """What runs and waits by name when a server is told to end has its result; what comes later is refused."""
    begun, go = tmp_path / "begun", tmp_path / "go"
    calls = [conn.submit("wait", str(begun), str(go)) for _ in range(3)]
    eventually(begun.exists)
    tell()

    def is_refused():
        # Before the server has heard of its end, a call is one more that waits.
        late = conn.submit("wait", str(begun), str(go))
        try:
            late.result(0.2)
        except concurrent.futures.TimeoutError:
            return False
        except errors.RpcMagicError as error:
            return "about to end" in str(error)
        return False

    eventually(is_refused)
    go.touch()
    assert [len(call.result(SECONDS)) for call in calls] == [3_000_000] * 3
    eventually(lambda: conn.state == "lost")


@pytest.mark.parametrize("sessions", [True, False])
def test_calls_by_name_get_a_stated_time(tmp_path, monkeypatch, sessions):
    """Of a module that the server exposes, with sessions and without."""
    (tmp_path / "slow_exposed.py").write_text("__all__ = ['wait']" + SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        served(expose=("slow_exposed",), sessions=sessions, stop_seconds=SECONDS) as url,
        rpc_magic.connect(url) as conn,
    ):
        check_calls_get_their_time(conn, tmp_path, served.process.terminate)
        served.process.wait(SECONDS)


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_of_a_program_get_a_stated_time(tmp_path, threads):
    """Of a program whose supervisor is told to end."""
    program = Script(SLOW_SERVER.replace("THREADS", str(threads)), tmp_path)
    try:
        with rpc_magic.connect(program.line()) as conn:
            supervisor = conn.attachment.welcome.pid
            check_calls_get_their_time(conn, tmp_path, lambda: os.kill(supervisor, signal.SIGTERM))
        program.finish()
    finally:
        program.close()


def test_calls_by_name_that_take_too_long(tmp_path, monkeypatch):
    """When the time is over the server ends without them, and their callers are told."""
    (tmp_path / "slow_exposed_2.py").write_text("__all__ = ['wait']" + SLOW)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        served(expose=("slow_exposed_2",), sessions=False, stop_seconds=0.2) as url,
        rpc_magic.connect(url) as conn,
    ):
        call = conn.submit("wait", str(tmp_path / "begun"), str(tmp_path / "never"))
        eventually((tmp_path / "begun").exists)
        served.process.terminate()
        with pytest.raises(errors.ConnectionLostError):
            call.result(SECONDS)
        served.process.wait(SECONDS)
