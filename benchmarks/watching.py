"""Measures what a person watches: ``conn.interact`` that follows a slider, and what open status widgets cost.

``python benchmarks/watching.py``. Without a page: what a control's callback and the model's thread do is measured,
from the move to the moment at which the result is handed to the widgets that show it.
"""

from __future__ import annotations

import os
import statistics
import threading
import time
from typing import Any

import psutil

import rpc_magic
from rpc_magic.client.newest import Newest
from rpc_magic.notebook.status import Snapshot, Status

WIDGETS = 50


def picture(position: int, seconds: float) -> Any:
    """Take some time, and return a small PNG."""
    import base64
    import time

    from IPython.display import Image

    time.sleep(seconds)
    one = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
    return Image(base64.b64decode(one) + bytes(2000) + position.to_bytes(4, "little"))


def updates(conn: rpc_magic.Connection, *, every: float, seconds: float = 5.0) -> float:
    """Return pictures a second of a function that takes 5 ms, while the slider moves every so many seconds."""
    shown: list[float] = []
    newest = Newest(conn.exchange, picture, lambda *_: shown.append(time.perf_counter()))
    began = time.perf_counter()
    position = 0
    while time.perf_counter() - began < seconds:
        position += 1
        newest.move({"position": position, "seconds": 0.005})
        time.sleep(every)
    return len(shown) / seconds


def after_the_stop(conn: rpc_magic.Connection, rounds: int = 9) -> tuple[float, float]:
    """Return median and maximum of the seconds from the last move to its picture; the function takes 300 ms."""
    waits = []
    for _ in range(rounds):
        shown: list[float] = []
        come = threading.Event()

        def take(*_: Any, shown: list[float] = shown, come: threading.Event = come) -> None:
            shown.append(time.perf_counter())
            come.set()

        newest = Newest(conn.exchange, picture, take)
        for position in range(20):
            newest.move({"position": position, "seconds": 0.3})
            stopped = time.perf_counter()
            time.sleep(0.03)
        while not come.wait(0.05) or time.perf_counter() - shown[-1] < 0.4:
            pass
        waits.append(shown[-1] - stopped)
    return statistics.median(waits), max(waits)


def idle_widgets(seconds: float = 20.0) -> tuple[float, float, int]:
    """Return percent of a processor, here and in the server, that open widgets cost, and how often one was told."""
    conns = [rpc_magic.connect() for _ in range(WIDGETS)]
    server = psutil.Process(conns[0].info().supervisor_pid)
    told: list[Snapshot] = []

    def used() -> tuple[float, float]:
        mine = os.times()
        theirs = server.cpu_times()
        return mine.user + mine.system, theirs.user + theirs.system

    def cost() -> tuple[float, float]:
        began = used()
        time.sleep(seconds)
        return tuple(100 * (b - a) / seconds for a, b in zip(began, used(), strict=True))  # type: ignore[return-value]

    without = cost()
    statuses = [Status(f"s{number}", conn) for number, conn in enumerate(conns)]
    for status in statuses:
        status.watch(told.append)
    time.sleep(2)
    told.clear()
    with_widgets = cost()
    count = len(told)
    for conn in conns:
        conn.close()
    return with_widgets[0] - without[0], with_widgets[1] - without[1], count


def main() -> None:
    """Measure, print."""
    with rpc_magic.connect() as conn:
        newest = updates(conn, every=0.001)
        print(f"5 ms function, slider moves every 1 ms:  {newest:6.1f} pictures/s")
        print(f"5 ms function, slider moves every 16 ms: {updates(conn, every=0.016):6.1f} pictures/s")
        middle, most = after_the_stop(conn)
        print(f"300 ms function, picture after the stop: {middle * 1e3:.0f} ms, at most {most * 1e3:.0f} ms")
    here, there, told = idle_widgets()
    cost = f"{here:+.2f} % of a processor here, {there:+.2f} % in the server"
    print(f"{WIDGETS} idle status widgets: {cost}, told {told} times")


if __name__ == "__main__":
    main()
