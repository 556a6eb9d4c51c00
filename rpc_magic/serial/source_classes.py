"""Classes with generated methods, for a side that runs another Python version.

The methods of dataclasses and named tuples have no source to send. So what generated them is run again
there, by that Python's own library, on what they were generated from.
"""

from __future__ import annotations

import collections
import dataclasses
import types
from typing import Any

from rpc_magic.serial import build_types
from rpc_magic.serial.tokens import registry

__all__ = ["make_named_tuple", "reduce_generated", "set_dataclass"]

_GENERATED_FILE = "<string>"
"""Where dataclasses says that its methods were written."""

_PARAMETERS = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
_FIELD_OPTIONS = ("init", "repr", "hash", "compare", "metadata", "kw_only")

_OF_DATACLASS = frozenset({"__dataclass_fields__", "__dataclass_params__", "__match_args__", "__replace__"})

_OF_NAMED_TUPLE = frozenset(
    {
        "__getnewargs__",
        "__match_args__",
        "__new__",
        "__replace__",
        "__slots__",
        "_asdict",
        "_field_defaults",
        "_fields",
        "_make",
        "_replace",
    }
)


def _is_generated(value: Any) -> bool:
    """Tell whether a method was written by dataclasses: its innermost function has no file."""
    while hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    return isinstance(value, types.FunctionType) and value.__code__.co_filename == _GENERATED_FILE


def reduce_generated(cls: Any, token: str, attributes: dict[str, Any], start: dict[str, Any]) -> Any:
    """Return how a dataclass or a named tuple travels as source, None when a class is neither.

    Args:
        cls: the class.
        token: its token.
        attributes: what would be set after it is made.
        start: what would be in it from the beginning.
    """
    if "__dataclass_params__" in attributes:
        return _reduce_dataclass(cls, token, attributes, start)
    if cls.__bases__ == (tuple,) and "_fields" in attributes and "_field_defaults" in attributes:
        return _reduce_named_tuple(cls, token, attributes)
    return None


def _reduce_dataclass(cls: Any, token: str, attributes: dict[str, Any], start: dict[str, Any]) -> Any:
    parameters = {name: getattr(attributes["__dataclass_params__"], name) for name in _PARAMETERS}
    own = attributes.get("__annotations__", {})
    fields = {}
    for field in dataclasses.fields(cls):
        if field.name in own:
            options = {name: getattr(field, name) for name in _FIELD_OPTIONS}
            options["metadata"] = dict(field.metadata) or None
            for name in ("default", "default_factory"):
                if getattr(field, name) is not dataclasses.MISSING:
                    options[name] = getattr(field, name)
            fields[field.name] = options
    kept = {
        name: value
        for name, value in attributes.items()
        if name not in _OF_DATACLASS
        and name not in fields
        and not _is_generated(value)
        and not (name == "__hash__" and value is None)
    }
    state = (token, kept, None, fields, parameters)
    made = (type(cls), cls.__name__, cls.__bases__, start, token)
    return build_types.make_class, made, state, None, None, set_dataclass


def set_dataclass(cls: Any, state: tuple[Any, ...]) -> None:
    """Give a class its attributes and make it a dataclass.

    Args:
        cls: what `make_class` returned.
        state: as for `set_class`, then the options of its fields by name, and those of the class.
    """
    is_new = registry.is_unfilled(cls)
    build_types.set_class(cls, state)
    if not is_new:
        return
    _, _, _, fields, parameters = state
    slots = {
        name: value for name, value in cls.__dict__.items() if isinstance(value, types.MemberDescriptorType)
    }
    for name, options in fields.items():
        setattr(cls, name, dataclasses.field(**options))
    dataclasses.dataclass(cls, **parameters)
    for name, slot in slots.items():
        setattr(cls, name, slot)


def _reduce_named_tuple(cls: Any, token: str, attributes: dict[str, Any]) -> Any:
    library = collections.__file__
    kept = {}
    for name, value in attributes.items():
        code = getattr(value, "__code__", None)
        is_librarys = code is not None and code.co_filename == library
        if name not in _OF_NAMED_TUPLE and name not in cls._fields and not is_librarys:
            kept[name] = value
    defaults = tuple(cls._field_defaults.values())
    made = (cls.__name__, cls.__qualname__, cls._fields, defaults, cls.__module__, token)
    return make_named_tuple, made, (token, kept, None), None, None, build_types.set_class


def make_named_tuple(
    name: str, qualified: str, fields: tuple[str, ...], defaults: tuple[Any, ...], module: str, token: str
) -> Any:
    """Make a named tuple, or return the one known by the token; stands in a stream."""
    known = registry.find(token)
    if known is not None:
        return known
    made = collections.namedtuple(name, fields, defaults=defaults, module=module)  # type: ignore[misc]  # noqa: PYI024  # names are data here
    made.__qualname__ = qualified
    registry.mark_unfilled(made)
    return registry.track(token, made)
