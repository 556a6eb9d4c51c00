"""What sending again costs: ``python benchmarks/resending.py``.

Bytes on the wire are counted, times are ratios to the raw yardstick (`raw.py`) measured in the same run. The slow link
is a proxy of 1 Gbit/s and 20 ms each way (`tests/client/throttle.py`).
"""

from __future__ import annotations

import functools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raw import Raw

import rpc_magic
from rpc_magic.runtime import launch, records

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "client"))

from throttle import ThrottledLink

ROUNDS = 7
ARRAY = 32_000_000  # float64: 256 MB
ROWS = 1_000_000

_FRAME = f"""
import numpy as np, pandas as pd
rng = np.random.default_rng(1)
columns = {{name: rng.random({ROWS}) for name in "abcdefgh"}}
frame = pd.DataFrame({{**columns, "s": rng.choice(["north", "south"], {ROWS})}})
"""


def size_of(value: Any) -> int:
    """Return a length."""
    return len(value)


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def counted(conn: rpc_magic.Connection, work: Callable[[], Any]) -> int:
    """Return the bytes that `work` sends and receives."""
    before = conn.info()
    work()
    after = conn.info()
    return after.bytes_sent + after.bytes_received - before.bytes_sent - before.bytes_received


def show(name: str, figure: float, unit: str) -> None:
    """Print a row."""
    print(f"{name:58s} {figure:12,.3f} {unit}", flush=True)


def tables(conn: rpc_magic.Connection) -> None:
    """A table of 1,000,000 rows of numbers and strings, from here and from there."""
    here: dict[str, Any] = {}
    exec(_FRAME, here)
    frame = here["frame"]
    show("table there, first", counted(conn, lambda: conn.push(frame=frame)) / 1e6, "MB")
    show("table there, unchanged", counted(conn, lambda: conn.push(frame=frame)) / 1e6, "MB")
    frame.loc[5, "c"] = 1.5
    show("table there, one cell changed", counted(conn, lambda: conn.push(frame=frame)) / 1e6, "MB")
    conn.run("frame.loc[6, 'd'] = 2.5")
    show("table back, one cell changed there", counted(conn, lambda: conn.pull("frame")) / 1e6, "MB")
    conn.run(_FRAME.replace("frame", "other").replace("rng(1)", "rng(2)"))
    fetched = [None]
    show(
        "table born there, fetched first",
        counted(conn, lambda: fetched.append(conn.pull("other"))) / 1e6,
        "MB",
    )
    show("the same, unchanged", counted(conn, lambda: fetched.append(conn.pull("other"))) / 1e6, "MB")
    conn.run("other.loc[7, 'e'] = 3.5")
    show("the same, one cell changed", counted(conn, lambda: fetched.append(conn.pull("other"))) / 1e6, "MB")


def arrays(conn: rpc_magic.Connection) -> None:
    """A 256 MB array as argument on loopback: first, and unchanged, each as a part of raw's time."""
    import numpy as np

    raw = Raw()
    rng = np.random.default_rng(2)
    first, again, changed = [], [], []
    for _ in range(ROUNDS):
        array = rng.random(ARRAY)
        yardstick = timed(functools.partial(raw.call, "size_of", array))
        ours = functools.partial(conn.call, size_of, array)
        first.append(timed(ours) / yardstick)
        again.append(timed(ours) / yardstick)
        array[5] = 0
        changed.append(timed(ours) / yardstick)
    raw.close()
    show("256 MB array, first: speed beside raw", 1 / statistics.median(first), "")
    show("256 MB array, unchanged: time beside raw", statistics.median(again), "")
    show("256 MB array, one element changed: time beside raw", statistics.median(changed), "")


def slow_link() -> None:
    """The same array over 1 Gbit/s and 20 ms: unchanged as a part of the first time."""
    import numpy as np

    os.environ["RPC_MAGIC_MACHINE"] = "elsewhere"
    process, url = launch.start(launch.SupervisorConfig(url="tcp://127.0.0.1:0"))
    del os.environ["RPC_MAGIC_MACHINE"]
    try:
        record = records.find(url)
        assert record is not None
        with (
            ThrottledLink(("127.0.0.1", int(url.rpartition(":")[2]))) as link,
            rpc_magic.connect(f"tcp://127.0.0.1:{link.port}", token_file=record.token_file) as conn,
        ):
            array = np.random.default_rng(3).random(ARRAY)
            conn.call(size_of, [1])
            first = timed(lambda: conn.call(size_of, array))
            again = statistics.median(timed(lambda: conn.call(size_of, array)) for _ in range(ROUNDS))
            show("1 Gbit/s and 20 ms: first", first, "s")
            show("1 Gbit/s and 20 ms: unchanged", again, "s")
            show("1 Gbit/s and 20 ms: first over unchanged", first / again, "times")
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def main() -> None:
    """Measure everything."""
    with rpc_magic.connect() as conn:
        tables(conn)
        arrays(conn)
    slow_link()


if __name__ == "__main__":
    main()
