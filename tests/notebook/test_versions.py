"""Cells of a notebook on a server of another version of Python."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.append(str(Path(__file__).parents[1] / "client"))

from pythons import MINORS, python_of

from rpc_magic.runtime import launch

TIMEOUT = 60 * float(os.environ.get("RPC_MAGIC_TEST_TIME_FACTOR", "1"))  # seconds


@pytest.fixture(scope="module", params=MINORS, ids=lambda minor: f"3.{minor}")
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server of another version."""
    process = subprocess.Popen(
        [python_of(request.param), "-m", "rpc_magic", "serve", "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=launch.environment(),
    )
    assert process.stdout is not None
    yield process.stdout.readline().split()[-1]
    process.send_signal(signal.SIGTERM)
    process.wait(TIMEOUT)
    process.stdout.close()


@pytest.fixture
def other(loaded: Any, address: str) -> Any:
    """A notebook that is connected to it."""
    loaded.good(f"%rpc_connect {address}")
    return loaded


def test_variables_functions_and_classes(other: Any) -> None:
    """They flow both ways, are changed, redefined and called on both sides."""
    other.good(
        "import dataclasses, enum\nscale = 3\n"
        "def f(x): return x * scale\n"
        "@dataclasses.dataclass\nclass P:\n    x: int\n    def m(self): return f(self.x)\n"
        "class Kind(enum.Enum):\n    A = 1\n"
        "p, items, kinds = P(2), [1], {Kind.A: 1}"
    )
    report = other.good(
        "%%rpc_call\nimport sys\nthere = sys.version_info[:2]\nitems.append(p.m())\np.x = 5\n"
        "def g(x): return f(x) + 1\nclass Q(P):\n    def m(self): return -super().m()\n"
        "q, same = Q(4), Kind.A in kinds\nprint(g(1), q.m())"
    )
    assert report.out == "4 -12\n"
    assert other.good(
        "items, p.m(), g(2), q.m(), isinstance(q, P), same, there != sys.version_info[:2]"
    ).result == ("([1, 6], 15, 7, -12, True, True, True)")
    other.good("scale = 10\ndef f(x): return x * scale + 1")
    assert other.good("%%rpc_call\nprint(f(1), g(1), p.m(), q.m())").out == "11 12 51 -41\n"
    other.good("class P:\n    def m(self): return 'new'\nnew = P()")
    assert (
        other.good("%%rpc_call\nprint(new.m(), p.m(), type(new) is P, type(p) is P)").out
        == "new 51 True False\n"
    )
    other.good("%%rpc_call\nclass P:\n    def m(self): return 'newest'\nnewest = P()")
    assert other.good("newest.m(), new.m(), type(newest) is P").result == "('newest', 'new', True)"


def test_closures_generators_lambdas_and_decorators(other: Any) -> None:
    """Code in all its forms is sent as it is written, and comes back."""
    other.good(
        "import functools\n"
        "def logged(f):\n    @functools.wraps(f)\n    def wrapper(*a): return ['log', f(*a)]\n    return wrapper\n"
        "@logged\ndef one(x): return x + 1\n"
        "def counter():\n    n = 0\n    def step():\n        nonlocal n\n        n += 1\n        return n\n"
        "    return step\n"
        "step, (up, down) = counter(), (lambda x: x + 1, lambda x: x - 1)\n"
        "def squares(n):\n    yield from (i * i for i in range(n))\n"
    )
    report = other.good(
        "%%rpc_call\nprint(one(1), step(), step(), up(1), down(1), list(squares(3)))\nmore = counter()"
    )
    assert report.out == "['log', 2] 1 2 2 0 [0, 1, 4]\n"
    assert other.good("step(), more(), more()").result == "(3, 1, 2)"


def test_errors(other: Any) -> None:
    """A remote exception of a class of the notebook's is that class, and shows the line."""
    other.good(
        "class Mine(Exception):\n    def __init__(self, code): super().__init__(code); self.code = code"
    )
    other.good("def fails():\n    # why\n    raise Mine(7)  # this line")
    report = other.run("%%rpc_call\nfails()")
    assert report.error == "Mine"
    assert "raise Mine(7)" in report.traceback
    assert other.run("%%rpc_call\n1/0").error == "ZeroDivisionError"
    assert other.run("%%rpc_call\ndef (").error == "SyntaxError"


def test_code_without_source_is_refused_before_anything_is_sent(other: Any) -> None:
    """The error names the variable; the cell does not run, and the next one does."""
    other.good("exec('def made(): return 1')")
    report = other.run("%%rpc_call\nprint('ran')\nmade()")
    assert report.error == "TransferError"
    assert "made" in report.message
    assert "another Python version" in report.message
    assert report.out == ""
    assert other.good("%%rpc_call\nprint('well')").out == "well\n"


def test_arrays(other: Any) -> None:
    """Arrays flow between versions of numpy."""
    other.good("import numpy as np\na = np.arange(10.0)")
    other.good("%%rpc_call\na += 1\nb = a * 2")
    assert other.good("float(a.sum()), float(b.sum())").result == "(55.0, 110.0)"
