"""Classes of ctypes: made by ctypes again, or with their fields set when the types of these are known."""

from __future__ import annotations

import operator
import sys
from importlib import import_module
from typing import Any

__all__ = ["fields_last", "make_pointer", "reduce_made"]


def reduce_made(cls: Any) -> Any:
    """Return how a pointer, array or function type, or a metaclass, is made of other types; else None."""
    ctypes: Any = sys.modules.get("ctypes")
    if ctypes is None:
        return None
    for base in (ctypes.Structure, ctypes.Union, ctypes.Array, ctypes.c_int):
        if cls is type(base):  # no module has it by name
            return type, (base,)
    made: tuple[Any, tuple[Any, ...]] | None = None
    if issubclass(cls, ctypes._Pointer):  # noqa: SLF001  # nothing public is their base
        made = make_pointer, (cls._type_,)
    elif issubclass(cls, ctypes.Array):
        made = operator.mul, (cls._type_, cls._length_)
    elif issubclass(cls, ctypes._CFuncPtr):  # noqa: SLF001  # nothing public is their base
        made = ctypes.CFUNCTYPE, (cls._restype_, *cls._argtypes_)
    return made if made is not None and made[0](*made[1]) is cls else None


def make_pointer(target: Any) -> Any:
    """Return the pointer type to a type; stands in a stream.

    ``ctypes.POINTER`` would be named by its home ``_ctypes``, whose types ``ctypes`` forgets when it is imported.
    """
    return import_module("ctypes").POINTER(target)


def fields_last(cls: type, attributes: dict[str, Any]) -> dict[str, Any]:
    """Return a structure's attributes without the descriptors that setting its fields makes.

    Args:
        cls: any class.
        attributes: to be set in this order.
    """
    ctypes: Any = sys.modules.get("ctypes")
    if ctypes is None or not issubclass(cls, (ctypes.Structure, ctypes.Union)):
        return attributes
    kept = {name: value for name, value in attributes.items() if type(value).__name__ != "CField"}
    if "_fields_" in kept:
        kept["_fields_"] = kept.pop("_fields_")
    return kept
