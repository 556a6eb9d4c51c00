"""What a cell did to the variables."""

from __future__ import annotations

import pytest

from rpc_magic.worker import changes
from rpc_magic.worker.changes import Before, state_of


def test_bound_changed_and_deleted():
    """New and rebound names, watched ones changed in place, deleted ones; what was not touched is not told."""
    space = {"same": [1], "rebound": 1, "grown": [1], "unwatched": [1], "gone": 1, "number": 5}
    before = Before(space, ["same", "grown", "number", "missing"])
    space["rebound"] = 2
    space["new"] = None
    space["grown"].append(2)
    space["unwatched"].append(2)
    del space["gone"]
    assert before.bound() == {"rebound": 2, "new": None}
    assert before.mutated() == {"grown": [1, 2]}
    assert before.deleted() == ("gone",)


def test_a_function_that_is_given_attributes_has_changed():
    """Its state is not taken before: most functions never change."""
    space = {}
    exec("def f(): f.calls = 1\ndef g(): pass", space)
    before = Before(space, ["f", "g"])
    space["f"]()
    assert before.mutated() == {"f": space["f"]}


def test_equal_but_other_object_is_bound():
    """A binding is seen by identity."""
    space = {"a": [1]}
    before = Before(space, [])
    space["a"] = [1]
    assert before.bound() == {"a": [1]}


def test_state_that_cannot_be_told_counts_as_changed():
    """What cannot be encoded may have changed."""
    space = {"g": (i for i in "a")}
    assert state_of(space["g"], space) is None
    before = Before(space, ["g"])
    assert set(before.mutated()) == {"g"}


def test_what_only_its_variable_holds_is_looked_for_nowhere_else(monkeypatch):
    """A cell costs nothing by what it does not mention: no variable is looked into for a share of what has no other."""
    looked_into = []
    monkeypatch.setattr(changes, "holds_any", lambda value, *_: looked_into.append(value))
    space = {"other": [[1]], "grown": [1]}
    before = Before(space, ["grown"])
    space["new"], space["_"] = [2], [3]
    space["__"] = space["other"]  # IPython's second last result, which is often a variable's value
    space["grown"].append(2)
    found = before.changes(1 << 20)
    assert (set(found.bound), set(found.mutated), found.mates) == ({"new", "_", "__"}, {"grown"}, {})
    assert looked_into == []


def test_what_changed_between_cells_is_told_with_the_next_one():
    """A thread that a cell left behind goes on: the client gets what it did when a cell reads the variable again."""
    space, told = {"log": [], "other": [1]}, {}
    assert Before(space, ["log"], told).changes(1 << 20).values == {}
    space["log"].append("from a thread")
    assert Before(space, ["log", "other"], told).changes(1 << 20).values == {"log": ["from a thread"]}
    assert Before(space, ["log", "other"], told).changes(1 << 20).values == {}


def test_a_variable_that_was_bound_anew_is_not_compared_with_what_it_was():
    """The client was told the new value with the cell that bound it."""
    space, told = {"log": []}, {}
    Before(space, ["log"], told).changes(1 << 20)
    before = Before(space, ["log"], told)
    space["log"] = [1]
    assert before.changes(1 << 20).values == {"log": [1]}
    assert Before(space, ["log"], told).changes(1 << 20).values == {}


@pytest.mark.parametrize("value", [{"a": [1, 2]}, {1, 2, 3}, b"x" * 100_000])
def test_state_is_of_the_content(value):
    """Equal content has an equal state."""
    import copy

    assert state_of(value, {}) == state_of(copy.deepcopy(value), {}) != state_of([value], {})
