"""Limits of time for user code that our own code calls."""

from __future__ import annotations

import contextlib
import signal
import threading
import time

import pytest

from rpc_magic.worker.patience import OutOfPatienceError, at_most


def for_ever():
    while True:
        with contextlib.suppress(Exception):
            time.sleep(60)


def test_what_never_ends():
    """It is ended, though it catches every `Exception`; a second time as well."""
    for _ in range(2):
        with pytest.raises(OutOfPatienceError), at_most(0.05):
            for_ever()


def test_what_ends_in_time():
    """Nothing is raised afterwards, and the user's own timer and handler are there again."""
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        with at_most(0.05):
            pass
        deadline = time.monotonic() + 10
        while not rung:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGALRM, before)


def test_other_threads_have_no_limit():
    """Signals are the main thread's alone."""
    ended = []

    def run():
        with at_most(0.01):
            time.sleep(0.05)
        ended.append(1)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert ended
