"""Objects of types made in C that take over the state of others: `rpc_magic.notebook.cstates`."""

from __future__ import annotations

import functools
import io
import random
from array import array
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rpc_magic.notebook.inplace import update_in_place


def test_arrays_of_pythons_own() -> None:
    """Of the same items only."""
    old = array("i", [1, 2])
    assert update_in_place(old, array("i", [3]))
    assert old.tolist() == [3]
    assert not update_in_place(old, array("d", [3]))


def test_files_in_memory() -> None:
    """Content and position come; one that is closed stays as it is."""
    for old, new, more in (
        (io.StringIO("a"), io.StringIO("bcd"), "x"),
        (io.BytesIO(b"a"), io.BytesIO(b"bcd"), b"x"),
    ):
        new.seek(1)
        assert update_in_place(old, new)
        old.write(more)
        assert old.getvalue() in {"bxd", b"bxd"}
        new.close()
        assert not update_in_place(old, new)


def test_generators_of_random_numbers() -> None:
    """They go on where the other was; another kind of generator is not taken over."""
    old, new = np.random.default_rng(1), np.random.default_rng(2)
    assert update_in_place(old, new)
    assert old.random() == new.random()
    assert not update_in_place(old, np.random.Generator(np.random.MT19937(1)))
    old_state, new_state = np.random.RandomState(1), np.random.RandomState(2)
    new_state.normal()
    assert update_in_place(old_state, new_state)
    assert old_state.normal() == new_state.normal()


def test_generators_of_python() -> None:
    """Likewise; the system's has no state."""
    old, new = random.Random(1), random.Random(2)
    new.gauss(0, 1)
    assert update_in_place(old, new)
    assert (old.gauss(0, 1), old.random()) == (new.gauss(0, 1), new.random())
    assert update_in_place(random.SystemRandom(), random.SystemRandom())


def test_tensors() -> None:
    """Of the same shape only; a gradient comes along."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    old, new = torch.nn.Parameter(torch.zeros(2, 2)), torch.nn.Parameter(torch.ones(2, 2))
    row = old.detach()[0]
    (new * 2).sum().backward()
    assert update_in_place(old, new)
    assert (row.tolist(), old.grad.tolist()) == ([1, 1], [[2, 2], [2, 2]])
    assert not update_in_place(old, torch.nn.Parameter(torch.ones(3)))


def test_partial_functions() -> None:
    """Function, arguments and attributes come."""
    old: Any = functools.partial(int, "1")
    new: Any = functools.partial(max, 1, default=2)
    new.note = "n"
    assert update_in_place(old, new)
    assert (old.func, old.args, old.keywords, old.note) == (max, (1,), {"default": 2}, "n")


def test_exceptions_and_namespaces() -> None:
    """Arguments and attributes come."""
    old, new = ValueError(1), ValueError(2, [3])
    new.add_note("n")
    assert update_in_place(old, new)
    assert (old.args, old.__notes__) == ((2, [3]), ["n"])
    names = SimpleNamespace(a=1)
    assert update_in_place(names, SimpleNamespace(b=2))
    assert names == SimpleNamespace(b=2)
