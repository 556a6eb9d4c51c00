"""A limit of time for user code that our own code has to call: the text of an exception, its way into bytes.

It uses SIGALRM, and gives a timer and a handler of the user's back. The exception is raised again and again, as the
user's code may catch it. Code that never returns to Python is not ended.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["OutOfPatienceError", "at_most"]

_AGAIN = 0.2
"""Seconds after which it is raised once more."""


class OutOfPatienceError(BaseException):
    """The time is over."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise `OutOfPatienceError` inside when so many seconds are over. Main thread only; on others there is no limit.

    Raises:
        OutOfPatienceError: the time is over.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    is_on = True

    def give_up(*_: object) -> None:
        if is_on:
            raise OutOfPatienceError

    handler = signal.signal(signal.SIGALRM, give_up)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        is_on = False
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, *timer)
