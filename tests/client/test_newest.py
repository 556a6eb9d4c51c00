"""Calls of which only the newest matters."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

import rpc_magic
from rpc_magic.client.newest import Newest
from rpc_magic.wire import messages

TIMEOUT = 60.0  # seconds


@pytest.fixture(scope="module")
def conn() -> Iterator[rpc_magic.Connection]:
    """One connection for all."""
    with rpc_magic.connect() as connection:
        yield connection


class Results:
    """Takes results."""

    def __init__(self, conn: rpc_magic.Connection, f: Any) -> None:
        self.taken: queue.Queue[tuple[list[Any], BaseException | None]] = queue.Queue()
        self.newest = Newest(conn.exchange, f, lambda shown, error: self.taken.put((shown, error)))

    def next(self) -> tuple[str, BaseException | None]:
        """Wait for a result; return what it shows as text."""
        shown, error = self.taken.get(timeout=TIMEOUT)
        texts = [m.text if isinstance(m, messages.Stream) else m.data["text/plain"] for m in shown]
        return "".join(texts), error


def test_what_is_printed_and_returned_is_shown(conn: rpc_magic.Connection) -> None:
    """In this order; the value itself does not travel, so it may be one that cannot."""

    def f(x: int) -> Any:
        print("x is", x)
        return threading.RLock(), x

    results = Results(conn, f)
    results.newest.move({"x": 3})
    text, error = results.next()
    assert error is None
    assert text.startswith("x is 3\n(<")


def test_the_last_position_wins(conn: rpc_magic.Connection) -> None:
    """A running call is interrupted, those that wait are not run: the last result comes at once, and alone."""

    def f(x: int) -> int:
        import time

        time.sleep(0 if x == 99 else 60)
        return x

    results = Results(conn, f)
    began = time.monotonic()
    for position in range(100):
        results.newest.move({"x": position})
    assert results.next() == ("99", None)
    assert time.monotonic() - began < 30  # half of what one call that was not ended would take
    assert results.taken.empty()
    assert conn.call(lambda: 5) == 5


def test_results_come_in_order(conn: rpc_magic.Connection) -> None:
    """Whatever is left out, what is shown only rises."""
    results = Results(conn, lambda x: x)
    for position in range(200):
        results.newest.move({"x": position})
        time.sleep(0.001)
    seen = []
    while not seen or seen[-1] != 199:
        text, error = results.next()
        assert error is None
        seen.append(int(text))
    assert seen == sorted(seen)


def test_an_error_is_a_result(conn: rpc_magic.Connection) -> None:
    """It is shown for its position, and the next one works; so is one of an argument that cannot travel."""
    results = Results(conn, lambda x: 1 // x)
    results.newest.move({"x": 0})
    assert isinstance(results.next()[1], ZeroDivisionError)
    results.newest.move({"x": 1})
    assert results.next() == ("1", None)
    results.newest.move({"x": (one for one in ())})
    assert isinstance(results.next()[1], rpc_magic.TransferError)


def test_a_figure_that_is_left_open_is_shown(conn: rpc_magic.Connection) -> None:
    """Once for each call, and closed after it, as after a cell; an async function is awaited."""

    async def f(x: int) -> None:
        import matplotlib.pyplot as plt

        plt.plot([x])

    results = Results(conn, f)
    for position in range(2):
        results.newest.move({"x": position})
        shown, error = results.taken.get(timeout=TIMEOUT)
        assert error is None
        assert ["image/png" in message.data for message in shown] == [True]


def test_a_function_that_the_session_forgot(conn: rpc_magic.Connection) -> None:
    """It is sent again, and the position is computed."""
    results = Results(conn, lambda x: x + 0.5)
    results.newest.move({"x": 1})
    assert results.next()[0] == "1.5"
    for number in range(1100):  # more than a session remembers
        conn.call(eval(f"lambda: {number}"))
    results.newest.move({"x": 2})
    assert results.next()[0] == "2.5"
