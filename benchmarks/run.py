"""Measures rpc_magic against the raw yardstick, side by side: ``python benchmarks/run.py``.

Each figure is the median over rounds in which the two take turns, so that a change of the machine's speed meets
both. Ratios are what counts; times are shown to make them imaginable. ``--json FILE`` writes the figures.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raw import Raw

import rpc_magic

ROUNDS = 9
ARRAY = 32_000_000  # float64: 256 MB


def add(a: int, b: int) -> int:
    """Add; defined in __main__, as in a notebook."""
    return a + b


def size_of(value: Any) -> int:
    """Return a length."""
    return len(value)


def numbers(count: int, first: int) -> Any:
    """Return an array of `count` float64, no part of which is like another one or like those with another `first`."""
    import numpy as np

    return np.arange(first, first + count, dtype=float)


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def median_of(work: Callable[[], Any], count: int) -> float:
    """Return the median seconds of `count` runs of `work`."""
    return statistics.median(timed(work) for _ in range(count))


def side_by_side(
    ours: Callable[[], float], raws: Callable[[], float], rounds: int = ROUNDS
) -> dict[str, float]:
    """Run both in turns; return the median of each and of the ratios."""
    pairs = [(ours(), raws()) for _ in range(rounds)]
    return {
        "ours": statistics.median(a for a, _ in pairs),
        "raw": statistics.median(b for _, b in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
    }


def small_call(conn: rpc_magic.Connection, raw: Raw) -> dict[str, float]:
    """Round trip of ``add(2, 3)``, median of 400 in each round."""
    return side_by_side(
        lambda: median_of(lambda: conn.call(add, 2, 3), 400),
        lambda: median_of(lambda: raw.call("add", 2, 3), 400),
    )


def submitted(conn: rpc_magic.Connection, raw: Raw) -> dict[str, float]:
    """1,000 calls by `submit`, then their results; the ratio is of rates, so more is better."""

    def ours() -> None:
        calls = [conn.submit(add, 2, 3) for _ in range(1000)]
        assert [call.result() for call in calls] == [5] * 1000

    figures = side_by_side(
        lambda: timed(ours), lambda: timed(lambda: [raw.call("add", 2, 3) for _ in range(1000)])
    )
    return figures | {"ratio": 1 / figures["ratio"]}


def array_there(conn: rpc_magic.Connection, raw: Raw) -> dict[str, float]:
    """A 256 MB array as argument, another one each time; the ratio is of speeds."""
    array = numbers(ARRAY, 0)

    def ours() -> float:
        nonlocal array
        array += ARRAY
        return timed(lambda: conn.call(size_of, array))

    figures = side_by_side(ours, lambda: timed(lambda: raw.call("size_of", array)))
    return figures | {"ratio": 1 / figures["ratio"]}


def array_back(conn: rpc_magic.Connection, raw: Raw) -> dict[str, float]:
    """A 256 MB array as result, another one each time; the ratio is of speeds, the making included."""
    count = itertools.count()
    figures = side_by_side(
        lambda: timed(lambda: conn.call(numbers, ARRAY, ARRAY * next(count))),
        lambda: timed(lambda: raw.call("numbers", ARRAY, ARRAY * next(count))),
    )
    return figures | {"ratio": 1 / figures["ratio"]}


def small_dicts(conn: rpc_magic.Connection, raw: Raw) -> dict[str, float]:
    """A list of 200,000 small dicts as argument."""
    rows = [{"id": i, "name": f"row {i}", "value": i / 7} for i in range(200_000)]
    return side_by_side(
        lambda: timed(lambda: conn.call(size_of, rows)), lambda: timed(lambda: raw.call("size_of", rows))
    )


_FIRST = """
import time; began = time.perf_counter()
import rpc_magic
conn = rpc_magic.connect()
def add(a, b): return a + b
assert conn.call(add, 2, 3) == 5
first = time.perf_counter() - began
began = time.perf_counter()
other = rpc_magic.connect()
assert other.call(add, 2, 3) == 5
print(first, time.perf_counter() - began)
"""
_TIMED = "import time; began = time.perf_counter(); {}; print(time.perf_counter() - began)"
_IMPORTS = _TIMED.format("import IPython, dill, numpy, pandas")
_OURS = _TIMED.format("import rpc_magic; rpc_magic.connect")


def _output(code: str) -> list[float]:
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return [float(word) for word in done.stdout.split()]


def starting() -> dict[str, dict[str, float]]:
    """Seconds to the first result without a server, and of a second session; beside the imports that it includes."""
    rounds = [(*_output(_FIRST), *_output(_IMPORTS), *_output(_OURS)) for _ in range(5)]
    first, second, imports, ours = (statistics.median(column) for column in zip(*rounds, strict=True))
    return {
        "first result": {"ours": first, "raw": imports, "ratio": first / imports},
        "second session": {"ours": second},
        "import rpc_magic": {"ours": ours},
    }


_PEAK = """
import rpc_magic
conn = rpc_magic.connect()
def peak():
    # VmHWM: getrusage's figure is inherited from the process that started this one
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM"):
            return int(line.split()[1])
def numbers(n):
    import numpy
    return numpy.arange(n, dtype=float)
import numpy
conn.call(numbers, 10)
conn.call(len, numbers(10))
array = numbers({count}) if {there} else None
before, before_there = peak(), conn.call(peak)
if {there}:
    conn.call(len, array)
else:
    array = conn.call(numbers, {count})
print((peak() - before) / 1024, (conn.call(peak) - before_there) / 1024)
"""


def memory() -> dict[str, dict[str, float]]:
    """Growth of the peak resident memory, MiB, here and there, when a 256 MB (244 MiB) array travels."""
    there_here, there_there = _output(_PEAK.format(count=ARRAY, there=True))
    back_here, back_there = _output(_PEAK.format(count=ARRAY, there=False))
    return {
        "peak there, client": {"MiB": there_here},
        "peak there, worker": {"MiB": there_there},
        "peak back, client": {"MiB": back_here},
        "peak back, worker": {"MiB": back_there},
    }


def main() -> None:
    """Measure everything, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    parser.add_argument("--only", nargs="*", help="names of the measurements")
    options = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    pairs = {
        "round trip of add(2, 3)": small_call,
        "1,000 submitted calls (rate)": submitted,
        "256 MB array there (speed)": array_there,
        "256 MB array back (speed)": array_back,
        "200,000 small dicts": small_dicts,
    }
    raw = Raw()
    with rpc_magic.connect() as conn:
        for name, measure in pairs.items():
            if not options.only or any(word in name for word in options.only):
                figures[name] = measure(conn, raw)
                print(_row(name, figures[name]), flush=True)
    raw.close()
    if not options.only:
        for name, row in (starting() | memory()).items():
            figures[name] = row
            print(_row(name, row), flush=True)
    machine = f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}"
    print(f"\nPython {platform.python_version()}, {machine}")
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1))


def _row(name: str, row: dict[str, float]) -> str:
    cells = [f"{key} {value * 1e3:10.3f} ms" for key, value in row.items() if key in {"ours", "raw"}]
    cells += [f"ratio {row['ratio']:5.2f}"] if "ratio" in row else []
    cells += [f"{row['MiB']:6.0f} MiB"] if "MiB" in row else []
    return f"{name:32s} {'  '.join(cells)}"


if __name__ == "__main__":
    main()
