"""Measures the serializer against C pickle, side by side: ``python benchmarks/serializer.py``.

Both are protocol 5 with buffers out of band. A row shows how long it takes to write and to read, and how many
bytes travel, each as a multiple of C pickle's. Times are the processor's, which other processes disturb less, and
medians of rounds in which the two take turns.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import datetime as dt
import decimal
import gc
import json
import os
import pickle
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rpc_magic import serial

ROUNDS = 7
SHORT = 0.001
"""Seconds below which a measurement is repeated many times in a round."""

Data = tuple[Any, list[Any]]


@dataclasses.dataclass
class Point:
    """A small dataclass of ``__main__``."""

    x: int
    y: float


@dataclasses.dataclass
class Segment:
    """A dataclass that holds two."""

    start: Point
    end: Point
    label: str


class Plain:
    """An object of ``__main__``."""

    def __init__(self, number: int) -> None:
        self.number, self.text = number, str(number)


def scale(row: dict[str, Any]) -> Any:
    """Stand for a function of a cell."""
    return row["value"] * 2


def cases() -> dict[str, Callable[[], Any]]:
    """Return what makes each object to measure."""
    import numpy as np
    import pandas as pd

    random = np.random.default_rng(0)
    rows = [{"id": i, "name": f"row {i}", "value": i / 7} for i in range(200_000)]

    def frame(kind: str) -> Any:
        words = [f"word {i % 5000}" for i in range(1_000_000)]
        text = pd.Series(words, dtype=kind)
        return pd.DataFrame({"number": random.normal(size=1_000_000), "one": text, "two": text[::-1].array})

    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return {
        "1,000,000 ints": lambda: list(range(1_000_000)),
        "200,000 dicts": lambda: rows,
        "30,000 nested dataclasses": lambda: [
            Segment(Point(i, 0.5), Point(-i, 1.5), f"s{i}") for i in range(30_000)
        ],
        "30,000 objects of a module": lambda: [
            collections.UserDict(a=i, b=collections.UserList([i])) for i in range(30_000)
        ],
        "100,000 objects of __main__": lambda: [Plain(i) for i in range(100_000)],
        "100,000 datetimes and Decimals": lambda: [
            (start + dt.timedelta(i), decimal.Decimal(i)) for i in range(100_000)
        ],
        "100,000 np.float64": lambda: list(random.normal(size=100_000)),
        "a function and 200,000 dicts": lambda: (scale, rows),
        "DataFrame, 2 str columns": lambda: frame("str"),
        "DataFrame, 2 object columns": lambda: frame("object"),
        "a 256 MB array": lambda: np.ones(32_000_000),
        "arguments of a small call": lambda: ((2, 3), {}),
        "a small DataFrame": lambda: pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"]}),
    }


def ours_write(thing: Any) -> Data:
    """Encode with rpc_magic."""
    head, *buffers = serial.encode(thing, namespace=globals(), carry=False)
    return head, buffers


def ours_read(data: Data) -> Any:
    """Decode with rpc_magic."""
    return serial.decode([data[0], *data[1]], namespace=globals())


def pickle_write(thing: Any) -> Data:
    """Encode with C pickle."""
    buffers: list[pickle.PickleBuffer] = []
    return pickle.dumps(thing, 5, buffer_callback=buffers.append), [buffer.raw() for buffer in buffers]


def pickle_read(data: Data) -> Any:
    """Decode with C pickle."""
    return pickle.loads(data[0], buffers=data[1])


def size_of(data: Data) -> int:
    """Return the bytes that travel."""
    return sum(memoryview(part).nbytes for part in (data[0], *data[1]))


def timed(work: Callable[[Any], Any], argument: Any) -> float:
    """Return the processor's seconds of one run, of the fastest of many when it is short."""
    began = time.process_time()
    work(argument)
    taken = time.process_time() - began
    if taken > SHORT:
        return taken
    runs = []
    for _ in range(300):  # too short for the processor's clock
        began = time.perf_counter()
        work(argument)
        runs.append(time.perf_counter() - began)
    return min(runs)


def compare(
    ours: Callable[[Any], Any], theirs: Callable[[Any], Any], mine: Any, yours: Any
) -> dict[str, float]:
    """Run both in turns; return the medians of ours and of the ratios."""
    gc.collect()
    gc.disable()  # its runs fall on either side by chance
    pairs = [(timed(ours, mine), timed(theirs, yours)) for _ in range(ROUNDS)]
    gc.enable()
    return {
        "seconds": statistics.median(a for a, _ in pairs),
        "ratio": statistics.median(a / b for a, b in pairs),
    }


def measure(thing: Any) -> dict[str, float]:
    """Measure one object."""
    mine, yours = ours_write(thing), pickle_write(thing)
    write, read = (
        compare(ours_write, pickle_write, thing, thing),
        compare(ours_read, pickle_read, mine, yours),
    )
    size = size_of(mine)
    return {
        "write seconds": write["seconds"],
        "write": write["ratio"],
        "read seconds": read["seconds"],
        "read": read["ratio"],
        "bytes": size,
        "size": size / size_of(yours),
    }


def main() -> None:
    """Measure everything, print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    parser.add_argument("--only", nargs="*", help="words of the rows' names")
    options = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    print("| data | write | times C pickle | read | times C pickle | bytes | times C pickle |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name, make in cases().items():
        if options.only and not any(word in name for word in options.only):
            continue
        row = figures[name] = measure(make())
        print(
            f"| {name} | {row['write seconds'] * 1e3:.3f} ms | {row['write']:.2f} "
            f"| {row['read seconds'] * 1e3:.3f} ms | {row['read']:.2f} | {row['bytes']:,} | {row['size']:.2f} |",
            flush=True,
        )
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} processors, {platform.machine()}")
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
