"""Which objects variables held: `rpc_magic.namespace.anchors`."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from rpc_magic.namespace import Anchors


class Plain:
    """An instance that may be referred to weakly."""


class Slotted:
    """One that may not."""

    __slots__ = ()


@pytest.mark.parametrize("make", [list, dict, set, Plain, Slotted, lambda: np.arange(3)])
def test_an_equal_object_is_another(make: Any) -> None:
    """Only the very object that was noted counts, as long as it is noted."""
    anchors = Anchors()
    one, other = make(), make()
    anchors.note("x", one)
    assert anchors.is_noted("x", one)
    assert not anchors.is_noted("x", other)
    assert not anchors.is_noted("y", one)
    anchors.note("x", other)
    assert anchors.is_noted("x", other)
    assert not anchors.is_noted("x", one)
    anchors.forget("x")
    assert not anchors.is_noted("x", other)


def test_what_is_bound_anew_is_forgotten() -> None:
    """After `prune` what a variable held is not met again, whatever it comes to hold later."""
    anchors = Anchors()
    one, other = [1], [2]
    anchors.note("x", one)
    anchors.note("y", other)
    anchors.prune({"x": [1], "y": other})
    assert not anchors.is_noted("x", one)
    assert anchors.is_noted("y", other)
    assert list(anchors.held()) == [other]


def test_instances_are_not_kept() -> None:
    """An instance goes when the user lets go of it."""
    anchors = Anchors()
    one = Plain()
    gone = weakref.ref(one)
    anchors.note("x", one)
    del one
    gc.collect()
    assert gone() is None
