"""Which objects inside values are referred to from outside them as well.

To find the variables that share an object with those that a cell reads, all others would have to be looked into. The
interpreter counts references, however: an object with no more of them than are found among the values, and where it is
known to be held, is shared with nothing else, and nothing else need be looked into. A reference too many may be of any
kind, so it says only that there may be another holder.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Collection, Iterable
from typing import NamedTuple

from rpc_magic.namespace.opaque import attributes_of_class
from rpc_magic.namespace.sharing import PLAIN, contents_of

__all__ = ["Inside", "references_outside"]

_LIMIT = 100_000
"""Objects that are looked at; of more, the rest is taken to be shared with nothing."""
_DEPTH = 10
"""Levels of tuples that are looked into to see that they hold nothing but constants."""
_PROBE = 0  # no id


class Inside(NamedTuple):
    """What values consist of.

    Attributes:
        objects: ids of the objects in them that can be changed, or that lead to one.
        shared: those of them with references from elsewhere.
    """

    objects: frozenset[int]
    shared: frozenset[int]


def references_outside(values: Collection[object], holders: Iterable[Iterable[object]]) -> Inside:
    """Return the objects inside values, and which of them something else refers to.

    Args:
        values: the values; a view of the mapping that holds them, so that the call itself refers to none.
        holders: what is known to hold them, `values` among it: each occurrence in one is one reference. Likewise views.
    """
    inside: dict[int, object] = {_PROBE: object()}
    counts: dict[int, int] = {}
    todo = list(values)
    while todo and len(inside) < _LIMIT:
        one = todo.pop()
        if id(one) in inside or _is_constant(one):
            continue
        parts = _references(one)
        if parts is None:
            continue
        inside[id(one)] = one
        for part in parts:
            if not _is_constant(part):
                counts[id(part)] = counts.get(id(part), 0) + 1
                todo.append(part)
    one = part = parts = None
    todo.clear()
    for held in holders:
        for key in map(id, held):
            if key in inside:
                counts[key] = counts.get(key, 0) + 1
    # The probe has the references that looking itself makes, and no other.
    own = sys.getrefcount(inside[_PROBE])
    # A class is the same one on both sides; its own methods and instances refer to it.
    for key in [_PROBE, *(key for key, one in inside.items() if isinstance(one, type))]:
        del inside[key]
    shared = [key for key in inside if sys.getrefcount(inside[key]) - own > counts.get(key, 0)]
    return Inside(frozenset(inside), frozenset(shared))


def _references(one: object) -> list[object] | None:
    """Return what an object refers to, each as often as it does; None for one that leads to nothing."""
    if isinstance(one, types.FunctionType):
        parts = (one.__closure__, one.__defaults__, one.__kwdefaults__, one.__dict__)
        return [part for part in parts if part] or None
    items, attributes = contents_of(one)
    if attributes is not None:
        return [*(items or ()), attributes]
    return items


def _is_constant(one: object, depth: int = _DEPTH) -> bool:
    """Tell whether an object can neither be changed nor lead to one that can."""
    kind = type(one)
    if kind in PLAIN:
        return True
    if isinstance(one, type):
        return attributes_of_class(one) is None
    if kind is tuple or kind is frozenset:
        return depth > 0 and all(_is_constant(item, depth - 1) for item in one)  # type: ignore[attr-defined]  # told by `kind`
    return False
