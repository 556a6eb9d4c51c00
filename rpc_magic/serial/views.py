"""Numpy arrays that show the memory of another: what travels together goes on sharing it.

Pickle writes each array for itself. Here the arrays that an encode meets are noted; where one shows the memory of
another that travels as well, the encode is done once more, and such an array is written as a view. An array that
travels without the one whose memory it shows is written as what it shows.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["Arrays", "make_view"]

_SMALL = 1 << 16
"""Bytes of memory that is sent for two views of it though it has no name of its own; more only if they show half."""


class Arrays:
    """The arrays of one encode.

    Attributes:
        wholes: by id, the arrays that are written first, for others are written as views of them.
    """

    __slots__ = ("_met", "_views", "wholes")

    def __init__(self) -> None:
        self.wholes: dict[int, Any] = {}
        self._met: dict[int, Any] = {}
        self._views: dict[int, dict[int, Any]] = {}

    def reduce(self, array: Any) -> Any:
        """Note an array of numpy's own type; return how it is written if that is as a view, else NotImplemented."""
        self._met[id(array)] = array
        base = array.base
        if type(base) is not type(array):
            return NotImplemented
        if id(base) in self.wholes:
            offset = _address(array) - _address(base)
            described = (array.dtype, offset, array.shape, array.strides, array.flags.writeable)
            return make_view, (base, *described)
        self._views.setdefault(id(base), {})[id(array)] = array
        return NotImplemented

    def find_wholes(self) -> dict[int, Any]:
        """Return the arrays that others of those met shall be written as views of, by id."""
        found = {}
        for key, views in self._views.items():
            base = next(iter(views.values())).base
            if base.dtype.hasobject or not (base.flags.c_contiguous or base.flags.f_contiguous):
                continue
            shown = sum(view.nbytes for view in views.values())
            if key in self._met or (len(views) > 1 and (base.nbytes <= _SMALL or base.nbytes <= 2 * shown)):
                found[key] = base
        return found


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def make_view(
    base: Any, dtype: Any, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], is_writeable: bool
) -> Any:
    """Make an array that shows memory of another; stands in a stream.

    Args:
        base: an array whose memory lies together.
        dtype: of the items that are shown.
        offset: where they begin in the memory; in bytes.
        shape: of the view.
        strides: of the view; in bytes.
        is_writeable: it may be written through the view.
    """
    whole = base if base.flags.c_contiguous else base.T
    made = sys.modules["numpy"].ndarray(shape, dtype, whole, offset, strides)
    if not is_writeable:
        made.flags.writeable = False
    return made
