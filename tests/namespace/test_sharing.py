"""Variables that share objects: `rpc_magic.namespace.sharing`."""

from __future__ import annotations

import io
import re
from array import array
from collections import deque
from datetime import date
from decimal import Decimal
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rpc_magic.namespace import parts_of, replace_within, shared_groups


class Node:
    """State in ``__dict__``."""

    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)


def counter() -> tuple[Any, Any]:
    """Two functions with one cell."""
    seen: list[int] = []
    return (lambda x: seen.extend([x])), (lambda: seen)


def groups_of(around: str = "", **values: Any) -> list[set[str]]:
    """The groups of variables."""
    return shared_groups(
        {name: parts_of(value) for name, value in values.items()}, around.split() or [*values]
    )


def test_groups() -> None:
    """Whoever refers to one object, at any depth, is in one group; what can not change joins nobody."""
    inner, zeros, text = [1], np.zeros(2), "t" * 100
    put, get = counter()
    groups = groups_of(
        a=inner, b={"x": (inner,)}, c=Node(way=[inner]), d=zeros, e=deque([zeros]), f=text, g=[text],
        put=put, get=get, h=[1],
    )  # fmt: skip
    assert sorted(map(sorted, groups)) == [["a", "b", "c"], ["d", "e"], ["get", "put"]]


def test_groups_around_some() -> None:
    """Groups without a member that was asked for are left out."""
    one, two = [1], [2]
    assert groups_of("a", a=one, b=[one], c=two, d=[two]) == [{"a", "b"}]


def test_groups_grow_together() -> None:
    """Two groups with a member in common are one."""
    one, two = [1], [2]
    assert groups_of(a=one, b=two, c=[one], d=[two], e=(one, two)) == [{"a", "b", "c", "d", "e"}]


def test_an_endless_structure_has_parts() -> None:
    """What refers to itself is looked at once; of what is large, a part."""
    own: list[Any] = []
    own.append(own)
    assert parts_of(own).marks == {id(own)}
    assert len(parts_of([[] for _ in range(100)], limit=10).marks) == 10
    assert parts_of(np.zeros(10)).size == 80


def noted(error: Exception, note: Any) -> Any:
    """An exception with an attribute."""
    error.__dict__["note"] = note
    return error


def test_methods_of_containers() -> None:
    """They belong to their container's group, and to that of what takes its place."""
    new, old = [1], [2]
    assert groups_of(a=new, b=new.append, c=len) == [{"a", "b"}]
    append, length = replace_within([new.append, len], {id(new): (new, old)})
    append(3)
    assert old == [2, 3]
    assert length is len


@pytest.mark.parametrize(
    "make",
    [
        io.StringIO,
        lambda: np.random.default_rng(1),
        lambda: np.random.RandomState(1),
        lambda: array("i", [1]),
    ],
)
def test_what_changes_without_having_parts(make: Any) -> None:
    """It is shared as a list is."""
    one = make()
    assert groups_of(a=one, b=[one], c=make()) == [{"a", "b"}]


def test_what_never_changes_is_not_shared() -> None:
    """Who hold a date, a number or a pattern have nothing to do with each other."""
    for one in (date(2000, 1, 1), Decimal(1), np.float64(1), np.dtype("f8"), re.compile("a"), len, range(3)):
        assert groups_of(a=one, b=[one]) == []


@pytest.mark.parametrize(
    ("make", "look"),
    [
        (lambda x: [x], lambda v: v[0]),
        (lambda x: {"k": [x]}, lambda v: v["k"][0]),
        (lambda x: deque([1, x]), lambda v: v[1]),
        (lambda x: Node(to=x), lambda v: v.to),
        (lambda x: (1, (x,)), lambda v: v[1][0]),
        (lambda x: [(x, 1)], lambda v: v[0][0]),
        (lambda x: np.array([[None, x]], dtype=object), lambda v: v[0, 1]),
        (lambda x: {x}, lambda v: next(iter(v))),
        (lambda x: lambda: x, lambda v: v()),
        (lambda x: lambda a=x: a, lambda v: v()),
        (lambda x: {x: 1}, lambda v: next(iter(v))),
        (lambda x: frozenset([x]), lambda v: next(iter(v))),
        (lambda x: SimpleNamespace(to=x), lambda v: v.to),
        (lambda x: ValueError("a", x), lambda v: v.args[1]),
        (lambda x: noted(ValueError(), x), lambda v: v.note),
        (lambda x: partial(print, x), lambda v: v.args[0]),
        (lambda x: partial(print, a=x), lambda v: v.keywords["a"]),
        (lambda x: partial(lambda: x), lambda v: v()),
    ],
)
def test_replacing(make: Any, look: Any) -> None:
    """Wherever one object is referred to, the other stands afterwards."""
    new, old = Node(), Node()
    (value,) = replace_within([make(new)], {id(new): (new, old)})
    assert look(value) is old


def test_replacing_leaves_the_rest() -> None:
    """Tuples that refer to nothing of it stay themselves."""
    new, old, same = [1], [2], (1, [2])
    assert replace_within([same, new], {id(new): (new, old)}) == [same, old]
    assert replace_within([same], {id(new): (new, old)})[0] is same
