"""Row 22: Stop at any moment, pickling, sending and receiving included: KeyboardInterrupt, and the next call works."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time

import numpy as np
import pytest
from checks import Server, unharmed

import rpc_magic

# A signal may strike inside a finalizer of Python's own, which can raise nothing: Python says so and goes on.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class SlowToPickle:
    """Takes a while on its way into bytes."""

    def __reduce__(self) -> tuple[type, tuple[()]]:
        for _ in range(50):
            time.sleep(0.0002)
        return SlowToPickle, ()


def test_stop(server: Server) -> None:
    """At a random moment of a call with much to send, to do and to receive, or after it."""
    rng, main = random.Random(22), threading.main_thread().ident
    assert main is not None
    missed = 0
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        conn.call(abs, 1)
        array = np.ones(500_000)
        for n in range(25):
            array[0] = n
            timer = threading.Timer(rng.random() * 0.06, signal.pthread_kill, (main, signal.SIGINT))
            value = None
            try:
                timer.start()
                value = conn.call(lambda a, _: (time.sleep(0.005), a * 2)[1], array, SlowToPickle())
                timer.join()
                time.sleep(0.2)  # it may come only now
                missed += 1
            except KeyboardInterrupt:
                pass
            timer.join()
            assert value is None or value[0] == 2 * n
            assert conn.call(abs, -n) == n
    assert missed <= 2, "but for a finalizer, each Stop is a KeyboardInterrupt"


def strike_soon(seconds: float) -> None:
    main = threading.main_thread().ident
    assert main is not None
    threading.Timer(seconds, signal.pthread_kill, (main, signal.SIGINT)).start()


@pytest.mark.parametrize("how", ["call", "run", "failing", "pull"])
def test_stop_of_a_loop_of_small_calls(server: Server, how: str) -> None:
    """Each call is over before it can be interrupted, or ends meanwhile; the loop ends all the same."""
    kinds = {
        "call": lambda conn: conn.call(abs, -1),
        "run": lambda conn: conn.run("n += 1"),
        "failing": lambda conn: conn.call(int, "no number"),
        "pull": lambda conn: conn.pull("n"),
    }
    with unharmed(server), rpc_magic.connect(server.url) as conn:
        conn.push(n=0)
        stopped = 0
        for n in range(10):
            strike_soon(0.02 + 0.003 * n)
            deadline = time.monotonic() + 20
            try:
                while time.monotonic() < deadline:
                    with contextlib.suppress(ValueError):
                        kinds[how](conn)
            except KeyboardInterrupt:
                stopped += 1
            assert time.monotonic() < deadline
        assert stopped == 10
        assert conn.call(abs, -1) == 1


def test_stop_that_the_code_has_heard(server: Server) -> None:
    """Code that catches the interrupt and returns has its say: its value is the call's."""

    def work() -> str:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            return "partial"
        return "all"

    with unharmed(server), rpc_magic.connect(server.url) as conn:
        conn.call(abs, 1)
        strike_soon(0.5)
        assert conn.call(work) == "partial"
        conn.push(work=work)
        strike_soon(0.5)
        result = conn.run("value = work()\nvalue", outputs=["value"])
        assert (result.value, result.outputs) == ("partial", {"value": "partial"})
        strike_soon(0.5)
        source = "import asyncio\ntry:\n    await asyncio.sleep(60)\nexcept asyncio.CancelledError:\n    late = 1\nlate"
        assert conn.run(source).value == 1
