"""What the clients of the soak test do: a program of calls, the same for the same seed.

Each call writes its number into its client's ledger when it begins, so that what ran is known whatever became of its
session. A call that may be stopped changes nothing in its session: what follows it does not depend on when it stopped.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import named
import numpy as np

__all__ = ["CELLS", "FUNCTIONS", "HELD", "SETUP", "Step", "argument", "program"]


class Step(NamedTuple):
    """One call.

    Attributes:
        number: of the call, from 1.
        kind: key of `CELLS` or `FUNCTIONS`.
        size: how much it does.
        width: how long its lines are.
        pause: seconds until it is stopped; 0.0 where it is not.
    """

    number: int
    kind: str
    size: int
    width: int
    pause: float = 0.0


HELD = 4 << 20
"""Bytes of received arrays that a client and a session hold. They may hold far more, and would grow until then."""

SETUP = """
import gc, hashlib, os, subprocess, sys, time
for store in gc.get_objects():
    if type(store).__name__ in {{"Blocks", "ChunkStore"}}:
        store._limit = {held}
del store
from IPython.display import HTML, clear_output, display
total = 0
def note(number):
    ledger = os.open({ledger!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(ledger, b"%d\\n" % number)
    os.close(ledger)
def digest(*values):
    return hashlib.sha256(str(values).encode()).hexdigest()
"""
"""The first cell of a session."""

CELLS = {
    "prints": """
note({number})
for i in range({size}):
    print({number}, i, "." * {width}, file=sys.stderr if i % 7 == 3 else sys.stdout)
    if i % 10 == 9:
        time.sleep(0.002)
total += 1
digest({number} * {size}, total)
""",
    "shows": """
note({number})
print({number}, "before")
handle = display(HTML("<b>{number}</b>"), display_id="d{number}")
for i in range({size} % 5):
    handle.update(HTML(f"<b>{number} {{i}}</b>"))
clear_output(wait=True)
display({{"text/plain": "x" * {width}, "image/png": bytes({size})}}, raw=True)
total += 1
HTML(f"<i>{number} {{total}}</i>")
""",
    "fails": """
note({number})
print({number}, "." * {width})
total += 1
raise ValueError({number}, total)
""",
    "asks": """
note({number})
name = input("{number}? ")
total += len(name)
name, total
""",
    "writes": """
note({number})
os.write(1, b"{number} by hand\\n" * {size})
subprocess.run(["echo", "{number} by a child"], check=True)
total += 1
""",
    "late": """
note({number})
for i in range(20 + {size}):
    print({number}, i, "." * {width})
    time.sleep(0.01)
""",
}


def there(name: str, *args: object) -> Any:
    """Call a function of the session's own."""
    from IPython import get_ipython

    return get_ipython().user_ns[name](*args)


def small(number: int, data: bytes) -> tuple[int, str]:
    there("note", number)
    return number, hashlib.sha256(data).hexdigest()


def wrong(number: int, data: bytes) -> None:
    there("note", number)
    raise KeyError(number, len(data))


def array(number: int, data: np.ndarray) -> np.ndarray:
    there("note", number)
    return data[::-1] + number % 4


def slow(number: int, lines: int) -> int:
    there("note", number)
    for i in range(lines):
        sys.stdout.write(f"{number} {i}\n")  # in one piece: a Stop may strike at any moment
        time.sleep(0.01)
    return lines


def dying(number: int, lines: int) -> None:
    there("note", number)
    time.sleep(lines / 1000)
    os.kill(os.getpid(), signal.SIGKILL)


def task(ledger: str, number: int, part: int) -> tuple[int, int]:
    named.note(ledger, f"{number}.{part}")
    return number, part * part


FUNCTIONS = {
    "small": small,
    "wrong": wrong,
    "array": array,
    "slow": slow,
    "dying": dying,
    "named": "named",
    "map": task,
}

_DEEDS = (
    *(("prints",), ("shows",), ("fails",), ("asks",), ("writes",), ("late",), ("slow", "slow")) * 2,
    *(("small", "wrong", "small"), ("small",), ("small", "small", "small", "wrong"), ("prints",)) * 4,
    *(("named", "small", "named"), ("named",), ("map",)) * 2,
    ("small", "array", "small"),
)
_DEATH = ("dying", "small")
_STOPPED = {"late", "slow"}


def argument(step: Step, ledger: str) -> Any:
    """Return what a function is called with beside its number."""
    if step.kind == "named":
        return ledger, "x" * step.size * step.width
    if (
        step.kind == "array"
    ):  # just over what travels in chunks; a few contents, of which both sides hold some
        return np.arange(140_000.0) + step.number % 8
    return (
        random.Random(step.number).randbytes(step.size * 600)
        if step.kind in {"small", "wrong"}
        else step.size
    )


def program(seed: str, *, dies: bool) -> Iterator[list[Step]]:
    """Return deeds: steps that are under way together. With `dies`, some have a call that kills its session."""
    rng = random.Random(seed)
    number = 0
    while True:
        kinds = _DEATH if dies and rng.random() < 0.02 else rng.choice(_DEEDS)
        deed = []
        for kind in kinds:
            number += 1
            pause = rng.uniform(0.0, 0.4) if kind in _STOPPED else 0.0
            deed.append(Step(number, kind, rng.randrange(1, 60), rng.randrange(100), pause))
        yield deed
