"""Changing objects in place: `rpc_magic.notebook.inplace`."""

from __future__ import annotations

import decimal
import enum
from collections import Counter, OrderedDict, defaultdict, deque
from typing import Any

import numpy as np
import pandas as pd
import pytest

from rpc_magic.notebook.inplace import update_in_place


class Plain:
    """State in ``__dict__``."""

    def __init__(self, v: int) -> None:
        self.v = v


class Slotted:
    """State in slots."""

    __slots__ = ("v",)

    def __init__(self, v: int) -> None:
        self.v = v


class NamedList(list[int]):
    """A list with an attribute."""

    name = ""


class Colour(enum.Enum):
    """Members are what they are."""

    RED = 1
    BLUE = 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ([1], [2, 3]),
        ({"a": 1}, {"b": 2}),
        ({1}, {2}),
        (bytearray(b"a"), bytearray(b"bc")),
        (deque([1], 5), deque([2, 3], 5)),
        (Counter("aa"), Counter("b")),
        (OrderedDict(a=1, b=2), OrderedDict(b=1, a=2)),
        (defaultdict(list, a=[1]), defaultdict(list, b=[2])),
    ],
)
def test_containers(old: Any, new: Any) -> None:
    """The object stays, its content becomes the other's."""
    assert update_in_place(old, new)
    assert old == new
    assert list(old) == list(new)


def test_attributes_of_containers() -> None:
    """What hangs on a list of the user's class comes too."""
    old, new = NamedList([1]), NamedList([2])
    new.name = "n"
    assert update_in_place(old, new)
    assert old == [2]
    assert old.name == "n"


def test_arrays() -> None:
    """Of the same shape and type only, and only where writing is allowed."""
    old = np.zeros(3)
    assert update_in_place(old, np.arange(3.0))
    assert old.tolist() == [0, 1, 2]
    assert not update_in_place(old, np.zeros(4))
    assert not update_in_place(old, np.zeros(3, dtype=int))
    old.flags.writeable = False
    assert not update_in_place(old, np.zeros(3))
    assert old.tolist() == [0, 1, 2]


def test_pandas() -> None:
    """Tables and columns take new shapes as well."""
    table, column = pd.DataFrame({"a": [1]}), pd.Series([1])
    assert update_in_place(table, pd.DataFrame({"b": [1, 2]}))
    assert update_in_place(column, pd.Series([3, 4], name="x"))
    assert table.equals(pd.DataFrame({"b": [1, 2]}))
    assert column.tolist() == [3, 4]


def test_instances() -> None:
    """Those whose whole state is their dictionary and slots."""
    old = Plain(1)
    assert update_in_place(old, Plain(2))
    assert old.v == 2
    slotted, empty = Slotted(1), Slotted(2)
    assert update_in_place(slotted, empty)
    assert slotted.v == 2
    del empty.v
    assert update_in_place(slotted, empty)
    assert not hasattr(slotted, "v")


@pytest.mark.parametrize(
    ("old", "new"),
    [(None, [1]), ([1], (1,)), ((1,), (2,)), (1, 2), ("a", "b"), (deque([1], 2), deque([1], 3))],
)
def test_everything_else_is_left_alone(old: Any, new: Any) -> None:
    """Other types, and objects of different types, are not touched."""
    before = repr(old)
    assert not update_in_place(old, new)
    assert repr(old) == before


def test_state_that_c_code_keeps_is_not_taken_for_a_dict() -> None:
    """Of a decimal context only a part would come over: it is left as it was."""

    class Context(decimal.Context):
        """It has attributes of its own besides."""

    old, new = Context(prec=1), Context(prec=2)
    assert not update_in_place(old, new)
    assert old.prec == 1


def test_attributes_of_a_table_come_too() -> None:
    """What hangs on a DataFrame in ``attrs`` is part of its content."""
    old, new = pd.DataFrame({"a": [1]}), pd.DataFrame({"a": [2]})
    new.attrs["unit"] = "mm"
    assert update_in_place(old, new)
    assert old.attrs == {"unit": "mm"}


def test_a_function_that_came_through_another_python() -> None:
    """One that was compiled anew has other code, and still takes the place of the one that was here."""

    def made(text: str) -> Any:
        namespace: dict[str, Any] = {}
        exec(f"def outer():\n    count = 0\n{text}\n    return inner", namespace)
        return namespace["outer"]()

    old = made("    def inner(): return count")
    new = made("\n\n    def inner(): return count + 1")
    new.note = 1
    assert update_in_place(old, new)
    assert (old(), old.note) == (1, 1)
    assert not update_in_place(old, made("    def inner(): return 1"))


def test_an_object_is_not_emptied_by_itself() -> None:
    """A singleton that comes back is the one that is here, with what came."""
    one, table = Plain(1), {"a": 1}
    assert update_in_place(one, one)
    assert update_in_place(table, table)
    assert (one.v, table) == (1, {"a": 1})
