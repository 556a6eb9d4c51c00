"""The filters of warnings that cells have set."""

from __future__ import annotations

import builtins
import sys
import warnings
from typing import Any

__all__ = ["Filters"]

_KINDS: dict[str, type[Warning]] = {
    name: kind
    for name, kind in vars(builtins).items()
    if isinstance(kind, type) and issubclass(kind, Warning)
}
_OF_PYTHON = {"DeprecationWarning", "PendingDeprecationWarning", "ImportWarning", "ResourceWarning"}
"""Kinds that Python itself ignores."""

Filter = tuple[str, str | None, str, str | None, int]


class Filters:
    """The filters of Python's own kinds of warnings that were set in cells, the newest first.

    Libraries set filters too, when they are loaded: one that is there when this object is made, and is for warnings of
    a certain text or module, is taken for such. What was not set by the other side is never taken away for it.
    """

    def __init__(self) -> None:
        self._first = {one for entry in warnings.filters if (one := _plain(entry)) and _is_given(one)}
        self._came: set[Filter] = set()

    def read(self, _: Any) -> tuple[Filter, ...]:
        """Return them."""
        found = (_plain(entry) for entry in warnings.filters)
        return tuple(one for one in found if one is not None and one not in self._first)

    def write(self, _: Any, state: tuple[Filter, ...]) -> None:
        """Set those of the other side."""
        gone = self._came.difference(state)
        for entry in list(warnings.filters):
            if _plain(entry) in gone:
                warnings.filters.remove(entry)  # type: ignore[attr-defined]  # it is a list
        self._came -= gone
        present = {_plain(entry) for entry in warnings.filters}
        for one in reversed(state):
            action, message, kind, module, line = one
            if one not in present:
                warnings.filterwarnings(action, message or "", _KINDS[kind], module or "", line)  # type: ignore[arg-type]  # one of the six words
                self._came.add(one)
        with warnings.catch_warnings():  # its end has the machinery notice what was taken away
            pass


def _plain(entry: Any) -> Filter | None:
    """Return one of `warnings.filters` as plain data; None for one of a library's own warnings."""
    action, message, kind, module, line = entry
    name = str(getattr(kind, "__name__", ""))
    if _KINDS.get(name) is not kind:
        return None
    return action, getattr(message, "pattern", message), name, getattr(module, "pattern", module), line


def _is_given(one: Filter) -> bool:
    """Tell whether a filter was not set by the user: by Python, its options, or a library."""
    action, message, kind, module, _ = one
    return bool(sys.warnoptions or message or module or (action == "ignore" and kind in _OF_PYTHON))
