"""Which variables share objects, and how one object takes another's place wherever it is referred to.

Variables that share an object that can be changed form a group: a change made through one of them is seen through the
others, so they go and come back together. What is looked into are containers, arrays of objects, instances whose state
is a ``__dict__``, the attributes of the notebook's own classes, and the cells, defaults and attributes of functions;
any other array or table is an object without parts, but for the array whose memory it shows.
"""

from __future__ import annotations

import functools
import gc
import types
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

from rpc_magic.namespace.opaque import (
    FROM_C,
    attributes_of_class,
    is_bound,
    moved_method,
    parts_within,
    swap_within,
)
from rpc_magic.namespace.views import bases_of, is_array, is_view, moved_view

__all__ = [
    "PLAIN",
    "Parts",
    "contents_of",
    "holds_any",
    "identities_within",
    "parts_of",
    "replace_within",
    "shared_groups",
]

_LIMIT = 10_000
"""Objects of one value that are looked at; of a larger one the rest is taken to be its own."""

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE
PLAIN = frozenset({type(None), bool, int, float, complex, str, bytes, types.ModuleType})
"""Types whose objects are neither changed nor looked into."""
_SEQUENCES: tuple[Any, ...] = (list, tuple, set, frozenset, deque)
_CONTAINERS = frozenset({list, tuple, set, dict})
_ONLY_LEADING = (tuple, frozenset, type, types.FunctionType, types.MethodType, types.BuiltinMethodType)
_ARRAYS = frozenset({("numpy", "ndarray"), ("pandas", "DataFrame"), ("pandas", "Series")})
_APART = frozenset({"rpc_magic", "logging", "enum", "threading", "asyncio"})
"""Packages whose objects are handles: many refer to one, and none of them changes with it."""


class Parts:
    """What a value consists of.

    Attributes:
        marks: ids of the objects that can be changed, the value among them.
        size: bytes of the arrays, tables and containers, about.
    """

    __slots__ = ("marks", "size")

    def __init__(self) -> None:
        self.marks: set[int] = set()
        self.size = 0


def parts_of(value: object, limit: int = _LIMIT) -> Parts:
    """Return the objects inside a value that can be changed; `limit` objects of it are looked at."""
    parts, seen, todo = Parts(), set(), [value]
    for _ in range(limit):
        if not todo:
            break
        one = todo.pop()
        if type(one) in PLAIN or id(one) in seen:
            continue
        seen.add(id(one))
        children = _children(one)
        if children is None:
            continue
        if not isinstance(one, _ONLY_LEADING):
            parts.marks.add(id(one))
            parts.size += _size(one)
        if is_view(one):  # the memory is that of another, which has its size under its own name
            parts.marks.update(map(id, bases_of(one)))
            continue
        todo.extend([child for child in children if type(child) not in PLAIN])
    return parts


def identities_within(value: object) -> int:
    """Return a number that stands for which objects a value consists of, itself not among them.

    Where another object, however equal, has taken the place of one, the value may share it with a variable.
    """
    return hash(frozenset(parts_of(value).marks.difference([id(value)])))


def holds_any(value: object, wanted: Collection[int], limit: int = _LIMIT) -> bool:
    """Tell whether a value is, or refers to, an object with one of the ids.

    `limit` objects of it are looked at, those nearest to it first. Most are plain containers, of which the collector
    tells the items a level at a time.
    """
    seen: set[int] = set()
    level: list[Any] = [value]
    while level:
        level = level[:limit]
        limit -= len(level)
        ids = set(map(id, level))
        if not ids.isdisjoint(wanted):
            return True
        if not limit:
            break
        seen |= ids
        small = [one for one in level if type(one) in _CONTAINERS and len(one) <= limit]
        below = gc.get_referents(*small)
        for one in level:
            if type(one) not in _CONTAINERS:
                below += islice(_children(one) or (), limit)
            elif len(one) > limit:
                below += islice(chain(one.values(), one) if type(one) is dict else one, limit)
        level = list(
            {id(one): one for one in below if type(one) not in PLAIN and id(one) not in seen}.values()
        )
    return False


def shared_groups(parts: Mapping[str, Parts], around: Collection[str]) -> list[set[str]]:
    """Return the groups of two or more variables that share an object, of those that have a member in `around`."""
    groups: dict[str, set[str]] = {}
    owners: dict[int, str] = {}
    for name, own in parts.items():
        group = groups[name] = {name}
        for mark in own.marks:
            other = groups[owners.setdefault(mark, name)]
            if other is not group:
                small, group = sorted((group, other), key=len)
                group |= small
                for member in small:
                    groups[member] = group
    unique = {id(group): group for group in groups.values()}
    return [group for group in unique.values() if len(group) > 1 and not group.isdisjoint(around)]


def replace_within(roots: Iterable[Any], places: Mapping[int, tuple[Any, Any]]) -> list[Any]:
    """Put objects into the place of others, wherever values refer to these.

    Args:
        roots: the values; changed in place, but for tuples, frozen sets, methods and views.
        places: what stands there now, and what shall stand there, by the id of the first.

    Returns:
        The values; a tuple that refers to one of the others is a new tuple, a view of one a new view.
    """
    swapped: dict[int, tuple[Any, Any]] = {}
    arrays = [pair for pair in places.values() if is_array(pair[0]) and is_array(pair[1])]

    def swap(value: Any) -> Any:
        if id(value) in places:
            return places[id(value)][1]
        if arrays and is_view(value):
            if id(value) not in swapped:
                swapped[id(value)] = (value, moved_view(value, arrays))
            return swapped[id(value)][1]
        if type(value) is types.MethodType:
            owner = swap(value.__self__)
            return value if owner is value.__self__ else types.MethodType(value.__func__, owner)
        if is_bound(value):
            return moved_method(value, swap)
        if type(value) is not tuple and type(value) is not frozenset:
            return value
        if id(value) not in swapped:
            items = type(value)(map(swap, value))
            is_same = all(new is old for new, old in zip(items, value, strict=True))
            swapped[id(value)] = (
                value,
                value if is_same else items,
            )  # the first keeps the id from being used anew
        return swapped[id(value)][1]

    result = [swap(root) for root in roots]
    seen, todo = set(), list(result)
    while todo:
        one = todo.pop()
        if type(one) in PLAIN or id(one) in seen:
            continue
        seen.add(id(one))
        children = _children(one)
        if children:
            _swap_children(one, swap)
            todo.extend(_children(one) or ())
    return result


def _children(one: Any) -> list[Any] | None:
    """Return what an object refers to; None for one that is not looked into and cannot be changed in place."""
    if isinstance(one, types.FunctionType):
        named = (*(one.__kwdefaults__ or {}).values(), *one.__dict__.values())
        return [*(one.__closure__ or ()), *(one.__defaults__ or ()), *named]
    items, attributes = contents_of(one)
    return items if attributes is None else [*(items or ()), *attributes.values()]


def contents_of(one: Any) -> tuple[list[Any] | None, dict[str, Any] | None]:
    """Return the items of an object that is no function, and its attributes; both are None if it is not looked into."""
    kind = type(one)
    if isinstance(one, type):
        attributes = attributes_of_class(one)
        return (None if attributes is None else list(attributes.values())), None
    found: list[Any] = []
    is_container = False
    for base in _SEQUENCES:
        if isinstance(one, base):
            found.extend(base.__iter__(one))
            is_container = True
    if isinstance(one, dict):
        found.extend(dict.values(one))
        found.extend([key for key in dict.keys(one) if type(key) not in PLAIN])
        is_container = True
    package = str(kind.__module__).partition(".")[0]
    if isinstance(one, types.CellType):
        try:
            return [one.cell_contents], None
        except ValueError:  # it is empty
            return [], None
    if isinstance(one, types.MethodType):
        return [one.__self__], None
    if (package, kind.__name__) in _ARRAYS:
        if is_view(one):
            return [one.base], None
        return one.ravel().tolist() if _holds_objects(one) else found, None
    if isinstance(one, bytearray):
        return found, None
    attributes = _attributes(one, package)
    if is_container:
        return found, attributes
    return parts_within(one) if attributes is None or isinstance(one, FROM_C) else None, attributes


def _holds_objects(one: Any) -> bool:
    return type(one).__name__ == "ndarray" and getattr(getattr(one, "dtype", None), "kind", "") == "O"


def _attributes(one: Any, package: str) -> dict[str, Any] | None:
    """Return the ``__dict__`` of an instance of a class that Python code has made."""
    kind = type(one)
    if package in _APART:
        return None
    if not kind.__flags__ & _HEAP_TYPE and not isinstance(one, FROM_C):
        return None
    try:
        attributes = object.__getattribute__(one, "__dict__")
    except AttributeError:
        return None
    return attributes if type(attributes) is dict else None


def _swap_children(one: Any, swap: Callable[[Any], Any]) -> None:
    for put, key, old in _places(one):
        new = swap(old)
        if new is not old:
            put(key, new)
    if isinstance(one, dict) and any(swap(key) is not key for key in dict.keys(one)):
        items = [(swap(key), value) for key, value in dict.items(one)]
        dict.clear(one)
        for key, value in items:
            dict.__setitem__(one, key, value)
    swap_within(one, swap)
    if isinstance(one, set):
        for old in list(set.__iter__(one)):
            new = swap(old)
            if new is not old:
                set.discard(one, old)
                set.add(one, new)
    elif isinstance(one, types.CellType):
        one.cell_contents = swap(one.cell_contents)
    elif isinstance(one, types.FunctionType) and one.__defaults__:
        one.__defaults__ = swap(one.__defaults__)


def _places(one: Any) -> Iterator[tuple[Callable[[Any, Any], object], Any, Any]]:
    """Yield what an object refers to by keys or numbers: how to put another there, the key, and what is there."""
    for mapping in _mappings(one):
        for key, old in list(mapping.items()):
            yield functools.partial(dict.__setitem__, mapping), key, old
    if isinstance(one, type):
        for key, old in (attributes_of_class(one) or {}).items():
            yield functools.partial(type.__setattr__, one), key, old
    if isinstance(one, list):
        for index, old in enumerate(list.__iter__(one)):
            yield functools.partial(list.__setitem__, one), index, old
    elif isinstance(one, deque):
        for index, old in enumerate(list(deque.__iter__(one))):
            yield functools.partial(deque.__setitem__, one), index, old
    elif _holds_objects(one):
        for index, old in enumerate(one.ravel().tolist()):
            yield one.flat.__setitem__, index, old


def _mappings(one: Any) -> Iterator[dict[Any, Any]]:
    if isinstance(one, dict):
        yield one
    if isinstance(one, types.FunctionType):
        if one.__kwdefaults__:
            yield one.__kwdefaults__
        yield one.__dict__
        return
    attributes = _attributes(one, str(type(one).__module__).partition(".")[0])
    if attributes is not None:
        yield attributes


def _size(one: Any) -> int:
    if isinstance(one, bytearray):
        return len(one)
    if isinstance(one, (list, dict, set, deque)):
        return 8 * len(one)
    try:
        return int(one.nbytes if type(one).__name__ == "ndarray" else 8 * one.size)
    except (AttributeError, TypeError, ValueError):
        return 0
