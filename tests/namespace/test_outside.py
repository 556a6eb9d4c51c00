"""References from outside: `rpc_magic.namespace.outside`."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest

from rpc_magic.namespace import references_outside


class Point:
    def __init__(self, value: Any) -> None:
        self.value = value


class Slotted:
    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value


def is_shared(namespace: dict[str, Any], names: str, *more: Any) -> bool:
    """Tell whether anything in the named variables is referred to from outside the namespace."""
    values = {name: namespace[name] for name in names.split()}
    return bool(references_outside(values.values(), (values.values(), namespace.values(), *more)).shared)


def made(code: str) -> dict[str, Any]:
    """Return the variables that code makes."""
    namespace: dict[str, Any] = {"np": np, "Point": Point, "Slotted": Slotted, "partial": functools.partial}
    exec(code, namespace)
    return namespace


@pytest.mark.parametrize(
    "code",
    [
        "a = [1, 2]",
        "a = [[], {}, {'x': [()]}]",
        "a = (1, (2, 3))",  # a constant of the code
        "a = ([1], 2)",
        "a = Point([1])",
        "a = np.arange(3)",
        "a = np.array([[1], [2]], dtype=object)",
        "a = {1, 2}",
        "def a(v): return v",
        "def a(v=[1], *, w={}): return v",
        "def make():\n    count = [0]\n    def inner(): return count\n    return inner\na = make()",
        "a = Point([1]).__init__",
        "a = []; a.append(a)",
        "shared = []; a = [shared, shared, [shared]]; del shared",
        "a = [1]; b = a",
        "inner = Point(1); a = [inner]",
        "p = Point(1); q = Point(2); q.__dict__ = p.__dict__; a = [p, q]; del p, q",
    ],
)
def test_what_is_accounted_for_is_not_shared(code: str) -> None:
    """References from inside the values and from variables are found, whatever the kind of object."""
    assert not is_shared(made(code), "a")


@pytest.mark.parametrize(
    "code",
    [
        "a = [1]; other = [a]",
        "inner = [1]; a = [inner]; other = {'x': inner}",
        "a = ([1], 2); other = [a]",
        "a = Point([1]); other = [a.value]",
        "a = Point([1]); other = [a.__dict__]",
        "a = [1]; other = Slotted(a)",
        "a = [1]; other = iter(a)",
        "a = [1]; other = partial(print, a)",
        "a = [1]\ndef other(v=a): pass",
        "def make():\n    c = [0]\n    return lambda: c, lambda: c\na, b = make(); other = [b]; del b",
        "a = np.array([[1], [2]], dtype=object); other = [a[0]]",
        "p = Point([1]); q = Point(2); q.__dict__ = p.__dict__; a = [p, q]; other = [p.value]; del p, q",
    ],
)
def test_another_holder_is_seen(code: str) -> None:
    """Wherever it is: nothing but what was named was looked into."""
    assert is_shared(made(code), "a")


def test_what_else_is_known_to_hold_them() -> None:
    """A history of results is no other holder."""
    namespace = made("a = [1]")
    history = {1: namespace["a"]}
    assert is_shared(namespace, "a")
    assert not is_shared(namespace, "a", history.values())


def test_the_objects_inside() -> None:
    """All that can be changed or leads to such, by id."""
    namespace = made("inner = [1]; a = (inner, 2); b = 'text'")
    inside = references_outside([namespace["a"], namespace["b"]], ())
    assert inside.objects == {id(namespace["a"]), id(namespace["inner"])}
    assert references_outside([1, "x", (2, (3,)), len, int], ()).objects == frozenset()
