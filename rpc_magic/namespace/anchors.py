"""Which objects variables held when they were last the same on both sides, so that a binding since is seen.

Equal content is not enough: of two lists that are equal, only one is the one that others share.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Mapping

__all__ = ["Anchors"]

_HELD = frozenset(
    {list, dict, set, tuple, frozenset, bytearray, type(None), bool, int, float, complex, str, bytes}
)
"""Types whose objects cannot be referred to weakly, or are small; held until the cell that lets go of one ends."""
_BY_ID = frozenset({"numpy", "pandas"})
"""Packages whose objects are told by their ids: they may be large, and numpy resizes no array that is referred to."""


class Anchors:
    """The objects of variables, by name. Not thread-safe: it belongs to the thread that runs the kernel's cells."""

    def __init__(self) -> None:
        self._held: dict[str, object] = {}
        self._tests: dict[str, Callable[[object], bool]] = {}

    def note(self, name: str, value: object) -> None:
        """Note the object that a variable holds on both sides."""
        self.forget(name)
        kind = type(value)
        if kind in _HELD:
            self._held[name] = value
            return
        if kind.__module__.partition(".")[0] not in _BY_ID:
            try:
                reference = weakref.ref(value)
            except TypeError:
                pass
            else:
                self._tests[name] = lambda other: reference() is other
                return
        key = id(value)
        self._tests[name] = lambda other: id(other) == key

    def forget(self, name: str) -> None:
        """Forget a variable: whatever it holds is another object."""
        self._held.pop(name, None)
        self._tests.pop(name, None)

    def is_noted(self, name: str, value: object) -> bool:
        """Tell whether a variable holds the object that was noted."""
        if name in self._held:
            return self._held[name] is value
        test = self._tests.get(name)
        return test is not None and test(value)

    def prune(self, namespace: Mapping[str, object]) -> None:
        """Forget the variables that are gone or hold other objects; to be called when a cell ends, if not before."""
        for name in [*self._held, *self._tests]:
            if name not in namespace or not self.is_noted(name, namespace[name]):
                self.forget(name)

    def held(self) -> Collection[object]:
        """Return a view of the objects that are held here, each occurrence being one reference."""
        return self._held.values()
