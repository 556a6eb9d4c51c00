"""Tests of arrays that show the memory of another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rpc_magic import dumps, loads

WHOLES: dict[str, Callable[[], Any]] = {
    "small": lambda: np.arange(10.0),
    "large": lambda: np.arange(10_000.0),
    "matrix": lambda: np.arange(10_000.0).reshape(100, 100),
    "fortran": lambda: np.asfortranarray(np.ones((100, 90))),
    "owned": lambda: np.arange(12.0).reshape(3, 4).copy(),
    "itself a view": lambda: np.arange(2_000)[::2],
    "structure": lambda: np.zeros(9, dtype=[("x", "i4"), ("y", "f8")]),
}


def views_of(whole: Any) -> list[Any]:
    """Return some views of an array."""
    fields = [whole[name] for name in whole.dtype.names or ()]
    return [whole[1:], whole[::-1], whole[::2], whole.T, *fields]


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("kind", WHOLES)
def test_views_of_an_array_that_travels_too(kind: str, is_first: bool) -> None:
    """They show its memory where they arrive, and where they arrive next, whichever is written first."""
    whole = WHOLES[kind]()
    expected = [view.copy() for view in views_of(whole)]
    things = [whole, views_of(whole)] if is_first else [views_of(whole), whole]
    for _ in range(3):
        things = loads(dumps(things))
        whole, views = things if is_first else reversed(things)
        for view, value in zip(views, expected, strict=True):
            np.testing.assert_array_equal(view, value)
            assert np.shares_memory(view, whole)
        assert len(dumps(things)) < 2 * whole.nbytes + 2_000


def test_views_of_an_array_that_stays() -> None:
    """Memory that is not sent by itself goes only where its views show half of it, or where it is small."""
    whole = np.zeros(100_000)
    assert len(dumps([whole[:10], whole[5:15]])) < 1_000
    one, other = loads(dumps([whole[:60_000], whole[50_000:]]))
    assert np.shares_memory(one, other)
    little = np.arange(10)
    one, other = loads(dumps((little[:4], little[3:])))
    one[3] = 99
    assert other[0] == 99
    assert len(dumps(whole[:10])) < 1_000


def test_a_view_that_may_not_be_written() -> None:
    """It is as safe where it arrives."""
    whole = np.arange(5)
    view = whole[1:]
    view.flags.writeable = False
    whole, view = loads(dumps((whole, view)))
    assert whole.flags.writeable
    assert not view.flags.writeable


def test_arrays_of_objects_and_subclasses() -> None:
    """They travel as ever, each for itself."""
    things = np.array([1, None, "x"], dtype=object)
    whole, view = loads(dumps((things, things[1:])))
    assert (whole.tolist(), view.tolist()) == ([1, None, "x"], [None, "x"])
    masked = np.ma.masked_array([1, 2, 3], mask=[0, 1, 0])
    whole, view = loads(dumps((masked, masked[1:])))
    assert (whole.sum(), view.sum()) == (4, 3)
