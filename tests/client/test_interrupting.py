"""Ctrl-C and interrupt(): at any moment, and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import signal
import textwrap
import threading
import time

import numpy as np
import psutil
import pytest
from live import FACTOR, SECONDS, eventually, fair_clock, within

from rpc_magic import errors
from rpc_magic.wire import messages

# A signal may strike inside a finalizer of Python's own, which can raise nothing: Python says so and goes on.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def add(a, b=0):
    return a + b


class AfterDelay:
    """Sends SIGINT to this process after a delay, unless the block has ended by then."""

    def __init__(self, seconds):
        self._timer = threading.Timer(
            seconds, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        )

    def __enter__(self):
        self._timer.start()

    def __exit__(self, *_):
        self._timer.cancel()
        self._timer.join()


def struck(seconds, work):
    """Run `work` with a SIGINT after `seconds`; return its value, or "interrupted"."""
    value = "interrupted"  # it may strike before the work has begun
    try:
        with AfterDelay(seconds):
            try:
                value = work()
            except KeyboardInterrupt:
                value = "interrupted"
    except KeyboardInterrupt:  # it struck after the work
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(0.001)
    return value


class WhenBegun:
    """Sends SIGINT to this process once a file is there, which the remote code makes when it begins."""

    def __init__(self, path):
        self.path = path
        self._thread = threading.Thread(target=self._strike)

    def _strike(self):
        eventually(self.path.exists)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._thread.join()
        self.path.unlink()


def test_ctrl_c_interrupts_the_remote_call(fresh, tmp_path):
    """Ctrl-C while waiting raises KeyboardInterrupt in the remote code and here; the next call works."""
    begun = tmp_path / "begun"

    def f(path):
        import time
        from pathlib import Path

        try:
            Path(path).touch()
            time.sleep(600)
        except KeyboardInterrupt:
            get_ipython().user_ns["seen"] = True  # noqa: F821
            raise

    with WhenBegun(begun), pytest.raises(KeyboardInterrupt):
        fresh.call(f, str(begun))
    assert fresh.pull("seen") is True
    touch = f"import asyncio, pathlib, time; pathlib.Path({str(begun)!r}).touch()\n"
    for work in ("time.sleep(600)", "await asyncio.sleep(600)", "while True: pass"):
        with WhenBegun(begun), pytest.raises(KeyboardInterrupt):
            fresh.run(touch + work)
    assert fresh.call(add, 1, 1) == 2


def test_ctrl_c_at_random_moments(fresh):
    """Whatever a call is doing, Ctrl-C ends it soon, later answers are right, and each call ran once at most."""
    import random

    rng = random.Random(7)
    fresh.push(count=0)

    def step(n):
        import time

        space = get_ipython().user_ns  # noqa: F821
        space["count"] += 1
        time.sleep(0.002)
        return n

    finished = 0
    with fair_clock() as now:
        for n in range(120):
            began = now()
            value = struck(rng.random() * 0.006, lambda n=n: fresh.call(step, n))
            assert now() - began < 5 * FACTOR
            assert value in (n, "interrupted")
            finished += value == n
            assert fresh.call(add, n, 1) == n + 1
    assert finished <= fresh.pull("count") <= 120
    assert fresh.state == "attached"


def test_ctrl_c_ends_long_calls_from_the_first_moment(fresh):
    """However early it strikes, a call that would run for ten minutes ends within seconds."""
    import random

    rng = random.Random(8)
    fresh.call(time.sleep, 0)
    with fair_clock() as now:
        for _ in range(60):
            began = now()
            assert struck(rng.random() * 0.003, lambda: fresh.call(time.sleep, 600)) == "interrupted"
            assert fresh.call(add, 1, 1) == 2
            assert now() - began < 10 * FACTOR


def test_ctrl_c_while_a_large_array_travels(fresh):
    """During pickling, sending and receiving of a large array: the call ends, answers after it are right."""
    import random

    rng = random.Random(9)
    array = np.arange(4_000_000)
    table = [{"n": i, "text": str(i)} for i in range(20_000)]

    def there(a):
        return int(a[-1])

    def back(n):
        return np.arange(n)

    def length(rows):
        return len(rows)

    for i in range(36):
        work, expected = [
            (lambda: fresh.call(there, array), 3_999_999),
            (lambda: fresh.call(back, 4_000_000).shape, (4_000_000,)),
            (lambda: fresh.call(length, table), 20_000),
        ][i % 3]
        value = struck(rng.random() * 0.06, work)
        assert value in (expected, "interrupted")
        assert fresh.call(add, i, 1) == i + 1
    assert fresh.call(there, array) == 3_999_999
    assert np.array_equal(fresh.call(back, 10), np.arange(10))
    assert fresh.state == "attached"


def test_ctrl_c_during_a_large_send_is_not_forgotten(fresh):
    """Ctrl-C while the arguments are on their way ends the call, although it had not begun there."""
    array = np.ones(40_000_000)
    fresh.call(add, 1)

    def long(a):
        import time

        time.sleep(600)

    for delay in (0.02, 0.05, 0.1):
        with within(10):
            assert struck(delay, lambda: fresh.call(long, array)) == "interrupted"
    assert fresh.call(add, 1, 1) == 2


LOCKS_TWICE = (
    "c = ctypes.{}(None); m = ctypes.create_string_buffer(64); [c.pthread_mutex_lock(m) for _ in range(2)]"
)
DEAF = {
    "swallows it": "time.sleep(60)",
    # Locking a mutex twice waits whatever signals come; CDLL lets go of the GIL meanwhile, PyDLL does not.
    "in C": LOCKS_TWICE.format("CDLL"),
    "in C, with the GIL": LOCKS_TWICE.format("PyDLL"),
}
"""Repeated for ever, and deaf also where Stop comes before it has begun."""


@pytest.fixture
def hasty(monkeypatch):
    """The user is told sooner."""
    monkeypatch.setattr("rpc_magic.client.waiting.GRACE", 0.5)


@pytest.mark.parametrize("kind", DEAF)
@pytest.mark.usefixtures("hasty")
def test_code_that_is_deaf_to_stop(fresh, tmp_path, capsys, kind):
    """The user is told and the status stays true; Stop again ends the session, and a restart gives a new one."""
    begun = tmp_path / "begun"
    states = []

    def press_again():
        eventually(begun.exists)
        eventually(lambda: fresh.info().state == "busy")
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        eventually(lambda: fresh.attachment.control.ask_pong(SECONDS).stopping_seconds > 0.7)
        states.append(fresh.info().state)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    thread = threading.Thread(target=press_again)
    thread.start()
    with pytest.raises(KeyboardInterrupt) as caught:
        fresh.run(
            f"import ctypes, pathlib, time\ntry: pathlib.Path({str(begun)!r}).touch()\n"
            "except KeyboardInterrupt: pass\n"
            f"while True:\n    try: {DEAF[kind]}\n    except KeyboardInterrupt: pass"
        )
    thread.join()
    assert states == ["busy"]
    assert "does not react to Stop" in capsys.readouterr().err
    assert "it was stopped" in str(caught.value.__cause__)
    with pytest.raises(errors.SessionDiedError, match="did not listen"):
        fresh.call(add, 1, 1)
    fresh.restart()
    assert fresh.call(add, 1, 1) == 2


@pytest.mark.usefixtures("hasty")
def test_timeout_of_deaf_code(fresh):
    """A stated time does by itself what two Stops do."""
    with pytest.raises(errors.CallTimeoutError, match="session was ended") as caught:
        fresh.run(f"import ctypes\n{DEAF['in C, with the GIL']}", timeout=2)
    assert isinstance(caught.value.__cause__, errors.SessionDiedError)
    fresh.restart()
    assert fresh.call(add, 1, 1) == 2


SLEEPS = {
    "a sleep": "time.sleep(60)",
    "a loop": "while True: pass",
    "a task": "import asyncio; await asyncio.sleep(60)",
    "a lock": "import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "a queue": "import queue; queue.Queue().get()",
    "a thread": "import threading\nt = threading.Thread(target=time.sleep, args=(3,)); t.start(); t.join()",
    "a process": "import subprocess; subprocess.run(['sleep', '60'])",
    "a socket": "import socket; one, two = socket.socketpair(); one.recv(1)",
    "a command": "!sleep 60",
    "input": "input('? ')",
}


@pytest.mark.parametrize("kind", SLEEPS)
def test_stop_reaches_whatever_waits(fresh, tmp_path, kind):
    """Python code and everything that sleeps is interrupted, with the remote line; its variables are intact."""
    begun = tmp_path / "begun"
    fresh.exchange.ask = lambda message, reply: None  # nobody answers
    # One statement: between two of them there is no line of the cell's.
    body = f"import pathlib, time; pathlib.Path({str(begun)!r}).touch()\n{SLEEPS[kind]}"
    with WhenBegun(begun), pytest.raises(KeyboardInterrupt) as caught:
        fresh.run(f"kept = 1\nif kept:\n{textwrap.indent(body, '    ')}")
    assert "Remote cell In[1], line" in "".join(caught.value.__notes__)
    assert fresh.pull("kept") == 1


LEFT = {
    "a debugger": "import pdb, sys; pdb.set_trace()",
    "a handler": "import signal; signal.signal(signal.SIGINT, lambda *_: None)",
}


@pytest.mark.parametrize("kind", LEFT)
def test_stop_reaches_the_calls_after_one_that_took_the_signal(fresh, tmp_path, kind):
    """What a call has made of SIGINT, as pdb does at its `c`, is over with that call, as in a kernel."""
    fresh.exchange.ask = lambda message, reply: reply(messages.InputReply("c"))
    fresh.run(LEFT[kind])
    begun = tmp_path / "begun"
    with WhenBegun(begun), pytest.raises(KeyboardInterrupt):
        fresh.run(f"kept = 1\nimport pathlib, time; pathlib.Path({str(begun)!r}).touch()\ntime.sleep(9)")
    assert fresh.pull("kept") == 1


def test_ctrl_c_during_restart(fresh):
    """Whenever it strikes, the connection has one session afterwards, and the others have ended."""
    import random

    rng = random.Random(10)
    keeper = psutil.Process(fresh.info().worker_pid).parent()
    before = len(keeper.children())
    for _ in range(12):
        struck(rng.random() * 0.03, fresh.restart)
        assert fresh.call(os.getpid) == fresh.info().worker_pid
        call = fresh.submit(time.sleep, 600)
        eventually(lambda: fresh.info().state == "busy")
        fresh.interrupt()
        with pytest.raises(errors.RemoteInterrupt):
            call.result(SECONDS)
    eventually(lambda: len(keeper.children()) <= before, "the end of all other sessions")


def test_interrupt_from_another_thread(fresh):
    """interrupt() gives the waiting caller KeyboardInterrupt; on an idle session it does nothing."""
    fresh.interrupt()
    assert fresh.call(add, 1, 1) == 2
    caught = []

    def wait():
        try:
            fresh.call(time.sleep, 600)
        except KeyboardInterrupt as error:
            caught.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: fresh.info().state == "busy")
    fresh.interrupt()
    thread.join(SECONDS)
    assert caught
    call = fresh.submit(time.sleep, 600)
    eventually(lambda: fresh.info().state == "busy")
    fresh.interrupt()
    with pytest.raises(errors.RemoteInterrupt):
        call.result(SECONDS)


def test_interrupt_concerns_the_call_it_was_meant_for(fresh):
    """Cancelling calls over and over never hits a neighbour."""
    for _ in range(40):
        first = fresh.submit(time.sleep, 0.002)
        doomed = fresh.submit(time.sleep, 60)
        last = fresh.submit(add, 1, 1)
        assert doomed.cancel()
        assert first.result(SECONDS) is None
        assert last.result(SECONDS) == 2


def test_timeout_of_a_cell(fresh):
    """run(timeout=) raises CallTimeoutError, which is a TimeoutError, and the session lives with its variables."""
    fresh.push(a=1)
    with within(4), pytest.raises(errors.CallTimeoutError) as caught:
        fresh.run("import time; time.sleep(600)", timeout=0.2)
    assert isinstance(caught.value, TimeoutError)
    assert fresh.pull("a") == 1
    assert fresh.run("1 + 1", timeout=30).value == 2
    with pytest.raises(ZeroDivisionError):
        fresh.run("1/0", timeout=30)


def test_stop_answers_while_output_floods(fresh):
    """Endless output is stopped within a second or two, by print and by descriptor."""
    for cell in ("while True: print('x' * 100)", "import os\nwhile True: os.write(1, b'x' * 1000)"):
        timer = threading.Timer(0.5, fresh.interrupt)
        timer.start()
        with within(3), pytest.raises(KeyboardInterrupt):
            fresh.run(cell, on_output=lambda message: None)
        timer.join()
        assert fresh.call(add, 1, 1) == 2


def test_two_cancels_at_once(fresh, tmp_path):
    """The first one ends the call that runs though the second one comes before the session has heard of it."""
    begun, third = tmp_path / "begun", tmp_path / "third"

    def deaf_for_a_moment():
        import ctypes

        begun.touch()
        ctypes.PyDLL(None).usleep(1_500_000)  # PyDLL keeps the GIL: no signal is handled meanwhile
        time.sleep(600)

    first, second = fresh.submit(deaf_for_a_moment), fresh.submit(third.touch)
    eventually(begun.exists)
    assert first.cancel()
    assert second.cancel()
    assert fresh.submit(abs, -4).result(SECONDS) == 4
    assert not third.exists()
