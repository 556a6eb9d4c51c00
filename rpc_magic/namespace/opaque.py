"""Objects of types made in C that refer to others, or that can be changed though they refer to none.

Methods of containers (``items.append``), partial functions and exceptions lead to what they were made with, classes to
what their attributes hold. Generators of random numbers, buffers of text and the like are looked at as one object
without parts.
"""

from __future__ import annotations

import enum
import functools
import gc
import types
from collections.abc import Callable
from typing import Any

__all__ = [
    "FROM_C",
    "attributes_of_class",
    "is_bound",
    "moved_method",
    "parts_within",
    "stored_by",
    "swap_within",
    "with_nested",
]

FROM_C = (types.SimpleNamespace, functools.partial, BaseException)
"""Types made in C whose instances keep attributes as those of Python's classes do."""

_CACHING: Any = type(functools.lru_cache(len))
_METHODS = (types.FunctionType, classmethod, staticmethod, property)


def attributes_of_class(one: type) -> dict[str, Any] | None:
    """Return what a class of the notebook's has besides methods and what Python gives it; None for any other class."""
    own = type.__getattribute__(one, "__dict__")
    if own.get("__module__") != "__main__" or isinstance(one, enum.EnumType):
        return None
    return {
        name: value
        for name, value in own.items()
        if not (name.startswith("__") and name.endswith("__")) and not isinstance(value, _METHODS)
    }


def with_nested(one: type) -> list[type]:
    """Return a class of the notebook's and the classes of the notebook's that are its attributes, to any depth."""
    found = [one]
    for each in found:  # grows while it runs
        nested = (attributes_of_class(each) or {}).values()
        found += [
            kind for kind in nested if isinstance(kind, type) and all(kind is not other for other in found)
        ]
    return found


def stored_by(function: object) -> list[Any]:
    """Return the results that `functools.lru_cache` has stored for a function, but for functions and classes."""
    if not isinstance(function, _CACHING) or not function.cache_info().currsize:
        return []
    found = [one for one in gc.get_referents(function) if not isinstance(one, (type, types.FunctionType))]
    stores = [one for one in found if type(one) is dict and one is not function.__dict__]
    if function.cache_info().maxsize is None:
        return list(stores[0].values())
    links = {
        id(one) for one in stores if {type(link).__name__ for link in one.values()} == {"_lru_list_elem"}
    }
    return [one for one in found if id(one) not in links and one is not function.__dict__]


def is_bound(value: object) -> bool:
    """Tell whether a value is a method, made in C, of an object that can be changed."""
    return type(value) is types.BuiltinMethodType and not isinstance(
        value.__self__, (types.ModuleType, type, type(None), str, bytes, int, float)
    )


def moved_method(method: Any, swap: Callable[[Any], Any]) -> Any:
    """Return such a method of what takes its object's place."""
    owner = swap(method.__self__)
    return method if owner is method.__self__ else getattr(owner, method.__name__)


def parts_within(one: Any) -> list[Any] | None:
    """Return what an object refers to besides its attributes; None for one that cannot be changed."""
    if is_bound(one):
        return [one.__self__]
    if isinstance(one, functools.partial):
        return [one.func, *one.args, *one.keywords.values()]
    if isinstance(one, BaseException):
        return list(one.args)
    return [] if _can_change(type(one)) else None


def swap_within(one: Any, swap: Callable[[Any], Any]) -> None:
    """Put what `swap` returns into the place of each object that one refers to."""
    if isinstance(one, functools.partial):
        keywords = {key: swap(value) for key, value in one.keywords.items()}
        state = (swap(one.func), swap(one.args), keywords, one.__dict__)
        one.__setstate__(state)  # type: ignore[attr-defined]  # all have it
    elif isinstance(one, BaseException):
        args = swap(one.args)
        if args is not one.args:
            one.args = args


def _can_change(kind: type) -> bool:
    if kind.__module__.startswith("numpy") and not kind.__module__.startswith("numpy.random"):
        return False
    return kind is not slice and (kind.__hash__ is None or hasattr(kind, "__setstate__"))
