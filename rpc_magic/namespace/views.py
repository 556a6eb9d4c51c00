"""Numpy arrays that show the memory of another array."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

__all__ = ["bases_of", "is_array", "is_view", "moved_view"]


def is_array(value: Any) -> bool:
    """Tell whether a value is an array of numpy's own type that holds no objects."""
    kind = type(value)
    return kind.__name__ == "ndarray" and kind.__module__ == "numpy" and value.dtype.kind != "O"


def is_view(value: Any) -> bool:
    """Tell whether a value is such an array, and shows the memory of another."""
    return is_array(value) and type(value.base) is type(value)


def bases_of(array: Any) -> Iterator[Any]:
    """Yield the arrays whose memory an array shows; the last has it from elsewhere, or is its owner."""
    while type(array.base) is type(array):
        array = array.base
        yield array


def moved_view(view: Any, places: Iterable[tuple[Any, Any]]) -> Any:
    """Return an array that shows the same part of another memory.

    Args:
        view: an array that shows the memory of another.
        places: arrays, and those that take their places.

    Returns:
        The same view of what takes the place of an array with its memory; `view` itself if there is none such.
    """
    memory = _memory(view)
    for there, here in places:
        old, new = _memory(there), _memory(here)
        if old is not memory or _part(there, old) != _part(here, new) or old.nbytes != new.nbytes:
            continue
        if not (new.flags.c_contiguous or new.flags.f_contiguous):
            continue
        whole = new if new.flags.c_contiguous else new.T
        offset = _part(view, memory)[0]
        made = sys.modules["numpy"].ndarray(view.shape, view.dtype, whole, offset, view.strides)
        made.flags.writeable = made.flags.writeable and view.flags.writeable
        return made
    return view


def _memory(array: Any) -> Any:
    return [array, *bases_of(array)][-1]


def _part(array: Any, memory: Any) -> tuple[Any, ...]:
    """Return which part of a memory an array shows: its offset in bytes, and its form."""
    first = array.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    return first, array.shape, array.strides
