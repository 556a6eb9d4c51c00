"""Row 22: Stop at any moment, pickling, sending and receiving included: KeyboardInterrupt, and the next call works."""

from __future__ import annotations

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
            except KeyboardInterrupt:
                pass
            timer.join()
            assert value is None or value[0] == 2 * n
            assert conn.call(abs, -n) == n
