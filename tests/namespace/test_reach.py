"""What is reachable from the names of a cell."""

from __future__ import annotations

import time
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from rpc_magic.namespace import is_bookkeeping, reach


def namespace_of(program: str) -> dict[str, Any]:
    """Return the namespace after a program."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(program, namespace)
    return namespace


def test_transitive_and_in_order() -> None:
    """What was asked for comes first, then what it needs, each once."""
    namespace = namespace_of("c = 1\ndef b(): return c, a\ndef a(): return b(), missing\nz = 2\nunused = 3")
    found = reach(["z", "a", "nothing", "z"], namespace)
    assert list(found) == ["z", "a", "b", "c"]
    assert found["a"] is namespace["a"]


def test_unmentioned_values_are_not_touched() -> None:
    """A value that answers every look with an error does no harm to others."""

    class Mine:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(name)

    namespace = namespace_of("def f(): return x\nx = 1")
    namespace["untouched"] = Mine()
    assert list(reach(["f"], namespace)) == ["f", "x"]


def test_last_results_are_values() -> None:
    """``_`` and ``_5`` travel when they are asked for."""
    assert reach(["_", "__", "_5", "_6"], {"_": 1, "__": 2, "_5": 3}) == {"_": 1, "__": 2, "_5": 3}


def test_bookkeeping_of_a_real_shell() -> None:
    """A fresh shell's namespace holds bookkeeping only, and what a user binds is none."""
    shell = InteractiveShell()
    own = [name for name, value in shell.user_ns.items() if not is_bookkeeping(name, value)]
    assert set(own) <= {"_", "__", "___"}
    assert reach(["In", "Out", "exit", "get_ipython", "open", "__name__"], shell.user_ns) == {}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("In", [""], True),
        ("In", 3, False),
        ("Out", {}, True),
        ("exit", 0, False),
        ("open", open, True),
        ("open", "a door", False),
        ("_i", "x = 1", True),
        ("_i12", "x = 1", True),
        ("_i12", 3, False),
        ("_index", "x", False),
        ("_12", 3, False),
        ("__version__", "1", False),
        ("__builtins__", {}, True),
    ],
)
def test_is_bookkeeping(name: str, value: object, expected: bool) -> None:
    """Names of the shell's that hold something of the user's are the user's."""
    assert is_bookkeeping(name, value) is expected


def test_time_does_not_depend_on_what_is_not_mentioned() -> None:
    """Ten names of 500, a gigabyte beside them: the median stays far under a generous bound."""
    namespace = namespace_of("\n".join(f"def f{i}(x): return g{i} + x\ng{i} = {i}" for i in range(250)))
    namespace["huge"] = memoryview(bytearray(1)).toreadonly()
    names = [f"f{i}" for i in range(5)] + [f"g{i}" for i in range(100, 105)]
    reach(names, namespace)
    times = []
    for _ in range(50):
        start = time.perf_counter()
        reach(names, namespace)
        times.append(time.perf_counter() - start)
    assert sorted(times)[25] < 0.005
