"""Measures what a remote cell costs over the same cell run here: ``python benchmarks/cells.py``.

A real IPython shell runs one cell that reads ten small variables and binds two, by turns plainly and with
``%%rpc_call``; the cost is the difference. It is taken in a namespace of those ten variables alone, and in one of 500
that holds a 1 GB array as well: nothing may grow with what the cell does not mention. ``--profile`` shows where the
time goes on this side.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from IPython.core.interactiveshell import InteractiveShell

ROUNDS = 200
SMALL = """
import math
a, b, c, d = 3, 2.5, 'text', (1, 2)
e, f = [1, 2, 3], {'x': 1, 'y': [2, 3]}
import numpy as np
g = np.arange(10.0)
def h(v): return v * a
class I:
    def __init__(self): self.v = 1
i = I()
j = {1, 2, 3}
"""
CELL = "first = h(b) + sum(e) + f['x'] + len(c) + d[0] + i.v\nsecond = [float(g.sum()), len(j), {variant}]"
MANY = """
import numpy as np, pandas as pd
for n in range(60):
    globals()[f'int_{n}'] = n; globals()[f'text_{n}'] = 'abc' * n; globals()[f'list_{n}'] = list(range(n))
    globals()[f'dict_{n}'] = {'key': n, 'list': [n, [n]]}; globals()[f'array_{n}'] = np.arange(float(n))
    globals()[f'frame_{n}'] = pd.DataFrame({'a': range(n), 'b': 'x'})
    exec(f'def function_{n}(v): return v + int_{n}'); globals()[f'object_{n}'] = I()
large = np.ones(125_000_000)
rows = [{'id': n, 'name': str(n)} for n in range(200_000)]
"""
TABLE = """
table = pd.DataFrame({'n': np.arange(1_000_000), 'x': np.random.default_rng(0).random(1_000_000)})
table['text'] = table['n'].astype(str)
"""


def run(shell: Any, cell: str) -> tuple[float, float]:
    """Run a cell; return the seconds that it took, and those of them that this process worked."""
    began, work = time.perf_counter(), time.process_time()
    result = shell.run_cell(cell)
    seconds, worked = time.perf_counter() - began, time.process_time() - work
    result.raise_error()
    return seconds, worked


def work_there(shell: Any) -> float:
    """Return the seconds that the session's process has worked."""
    return float(shell.run_line_magic("rpc_call", "__import__('time').process_time()"))


def cost(shell: Any, rounds: int, cell: str) -> dict[str, float]:
    """Return the medians of a remote cell, of the cell run here, and of their differences, in seconds.

    `work` is the difference in processor time, both sides together: it does not count waiting for a processor that
    others use.
    """
    for n in range(5):
        run(shell, "%%rpc_call\n" + cell.replace("{variant}", str(n)))
    pairs = []
    before = work_there(shell)
    for n in range(rounds):
        text = cell.replace("{variant}", str(n))
        pairs.append((run(shell, "%%rpc_call\n" + text), run(shell, text)))
    there = (work_there(shell) - before) / rounds
    return {
        "remote": statistics.median(remote for (remote, _), _ in pairs),
        "here": statistics.median(here for _, (here, _) in pairs),
        "over": statistics.median(remote - here for (remote, _), (here, _) in pairs),
        "work": there + statistics.median(remote - here for (_, remote), (_, here) in pairs),
    }


def main() -> None:
    """Measure; print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures there")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    shell = InteractiveShell.instance()
    shell.cache_size = 0
    run(shell, "%load_ext rpc_magic\n%rpc_connect --no-widget")
    run(shell, SMALL)
    figures = {"ten small variables alone": cost(shell, options.rounds, CELL)}
    run(shell, MANY)
    count = sum(not name.startswith("_") for name in shell.user_ns)
    figures[f"{count} variables, 1 GB array"] = cost(shell, options.rounds, CELL)
    run(shell, "iterator = iter(e)")  # something that is not looked into refers to one of the ten
    figures["one of them held elsewhere"] = cost(shell, options.rounds, CELL)
    run(shell, TABLE)
    figures["a table of 1,000,000 rows read"] = cost(shell, 5, "first = len(table) + {variant}")
    for name, row in figures.items():
        print(f"{name:32s}", "  ".join(f"{key} {value * 1e3:7.3f} ms" for key, value in row.items()))
    if options.profile:
        profile = cProfile.Profile()
        profile.runcall(cost, shell, options.rounds, CELL)
        pstats.Stats(profile).sort_stats("tottime").print_stats(45)
    run(shell, "%unload_ext rpc_magic")
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    assert np is not None
    main()
