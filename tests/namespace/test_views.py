"""Tests of views that are moved to another memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rpc_magic.namespace import parts_of, replace_within, shared_groups

MEMORY = np.arange(24.0)
NEW = np.arange(24.0) + 100


@pytest.mark.parametrize("part", [np.s_[:], np.s_[2:20:3], np.s_[::-1]])
def test_a_view_of_what_is_replaced(part: Any) -> None:
    """It becomes the same view of what takes the place, once, also inside a container."""
    there, here = MEMORY.copy(), NEW.copy()
    view = there[part]
    same, [inside], (also,) = replace_within([view, [view], (view,)], {id(there): (there, here)})
    assert same is inside is also
    np.testing.assert_array_equal(same, here[part])
    assert np.shares_memory(same, here)
    assert not np.shares_memory(same, there)


def test_a_view_of_the_same_memory_as_what_is_replaced() -> None:
    """It need not be a view of just that array."""
    there, here = MEMORY.copy(), NEW.copy()
    place = (there[4:10], here[4:10])
    (view,) = replace_within([there[8:12]], {id(place[0]): place})
    np.testing.assert_array_equal(view, here[8:12])
    assert np.shares_memory(view, here)


def test_what_cannot_be_moved() -> None:
    """An array of another form takes no views over; they stay as they are."""
    there = MEMORY.copy()
    view = there[2:]
    for here in (NEW[:5].copy(), np.arange(48.0)[::2], NEW.reshape(4, 6).copy()):
        assert replace_within([view], {id(there): (there, here)})[0] is view


def test_variables_with_one_memory() -> None:
    """Views of an array belong to its group, and to that of other views of it where it has no name."""
    whole = MEMORY.copy()
    nameless = np.arange(6).reshape(2, 3)
    named = {"w": whole, "a": whole[1:], "b": [whole[:2]], "x": nameless, "y": nameless[0], "z": NEW}
    groups = shared_groups({name: parts_of(value) for name, value in named.items()}, named)
    assert sorted(map(sorted, groups)) == [["a", "b", "w"], ["x", "y"]]


def test_the_size_of_a_view() -> None:
    """It is that of what it shows."""
    assert parts_of(MEMORY[:2]).size == 16
