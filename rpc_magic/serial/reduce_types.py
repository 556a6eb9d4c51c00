"""How classes, enums and type variables travel when they cannot be imported."""

from __future__ import annotations

import abc
import enum
import types
import typing
from typing import Any

from rpc_magic.serial import bridge, build, build_types, ctypes_classes, source_classes
from rpc_magic.serial.encoding import Encoding, intern_values, interned
from rpc_magic.serial.locate import locate, public_name, type_constants
from rpc_magic.serial.tokens import registry

__all__ = ["reduce_class", "reduce_forward", "reduce_newtype", "reduce_type_alias", "reduce_typevar"]

_ENUM_MACHINERY = frozenset(
    [
        "_generate_next_value_",
        "_member_names_",
        "_member_map_",
        "_member_type_",
        "_value2member_map_",
        "_unhashable_values_",
        "_unhashable_values_map_",
        "_hashable_values_",
        "_use_args_",
        "_value_repr_",
        "_new_member_",
        "__new__",
        "_flag_mask_",
        "_all_bits_",
        "_boundary_",
        "_singles_mask_",
        "_inverted_",
    ]
)
"""Class attributes that the enum machinery makes anew."""

_MEMBER_MACHINERY = frozenset(
    ["_value_", "_name_", "__objclass__", "_sort_order_", "_hashable_", "_unhashable_", "_inverted_"]
)
"""Member attributes that the enum machinery makes anew."""


_MADE_BY_PYTHON = 1 << 9
"""A type's flag (Py_TPFLAGS_HEAPTYPE); types without it are written in C and cannot be made anew."""

_FIRST = ("__module__", "__doc__")
"""What a class made by `make_class` has first; so its copy has its attributes in the same order."""


_LAST = ("__firstlineno__",)
"""What `set_class` sets last, since Python 3.13."""


def reduce_class(encoding: Encoding, cls: Any) -> Any:
    """By reference when importable, else made with its bases and slots, then filled."""
    if cls is type(None) or cls is type(...) or cls is type(NotImplemented):
        return NotImplemented  # pickle knows these
    if type(cls) is type and cls in type_constants:
        return build.attribute, ("types", type_constants[cls])
    located = locate(cls)
    if located is not None:
        encoding.modules.add(located[0])
        public = public_name(*located) if encoding.code == "source" else located
        return NotImplemented if public == located else (build.attribute, public)
    made = ctypes_classes.reduce_made(cls)
    if made is not None:
        return made
    if cls.__module__ == "builtins" or not cls.__flags__ & _MADE_BY_PYTHON:
        return _interpreter_type(cls)
    token = registry.token(cls)
    if issubclass(cls, enum.Enum):
        return _reduce_enum(cls, token)
    attributes, start = _class_body(cls)
    if encoding.code == "source":
        generated = source_classes.reduce_generated(cls, token, attributes, start)
        if generated is not None:
            return generated
    state: tuple[Any, ...] = (token, ctypes_classes.fields_last(cls, attributes), _registered(cls))
    is_taken_over = encoding.takes_over(cls)
    if is_taken_over is not None:
        state += (is_taken_over,)
    made = (type(cls), interned(cls.__name__), cls.__bases__, start, token)
    is_typed_dict = type(cls).__name__ == "_TypedDictMeta"  # typing_extensions has one too
    maker = build_types.make_typeddict if is_typed_dict else build_types.make_class
    return maker, made, state, None, None, build_types.set_class


def _interpreter_type(cls: Any) -> Any:
    """A type of the interpreter that no module gives a name to; dill knows some."""
    name = bridge.type_name(cls)
    return NotImplemented if name is None else (bridge.load_type, (name,))


def _class_body(cls: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the attributes to set afterwards, and those that must be there when the class is made."""
    attributes = dict(cls.__dict__)
    for name in ("__weakref__", "__dict__"):
        if isinstance(attributes.get(name), types.GetSetDescriptorType):
            del attributes[name]
    start: dict[str, Any] = {"__qualname__": cls.__qualname__}
    for name in ("__module__", "__orig_bases__"):
        if name in attributes:
            start[name] = attributes[name]
    if "__slots__" in attributes:
        slots = start["__slots__"] = attributes.pop("__slots__")
        for slot in [slots] if isinstance(slots, str) else list(slots):
            is_private = slot.startswith("__") and not slot.endswith("__")
            attributes.pop(f"_{cls.__name__.lstrip('_')}{slot}" if is_private else slot, None)
    attributes.pop("_abc_impl", None)
    attributes.pop("__annotate_func__", None)
    attributes.pop("__slotnames__", None)  # copyreg's cache, there once an instance was pickled
    first = {name: attributes.pop(name) for name in _FIRST if name in attributes}
    last = {name: attributes.pop(name) for name in _LAST if name in attributes}
    return intern_values(first | attributes | last), intern_values(start)


def _registered(cls: Any) -> list[Any] | None:
    """Return the virtual subclasses of an abstract class."""
    if not isinstance(cls, abc.ABCMeta):
        return None
    dump: Any = getattr(abc, "_get_dump", None)
    if dump is None:
        return None
    alive = [reference() for reference in dump(cls)[0]]
    return [subclass for subclass in alive if subclass is not None] or None


def _reduce_enum(cls: Any, token: str) -> tuple[Any, ...]:
    members = {name: member.value for name, member in cls.__members__.items()}
    attributes, _ = _class_body(cls)
    attributes = {
        name: value
        for name, value in attributes.items()
        if name not in _ENUM_MACHINERY and name not in members
    }
    extra = {}
    for name, member in cls.__members__.items():
        own = {key: value for key, value in member.__dict__.items() if key not in _MEMBER_MACHINERY}
        if own and member.name == name:
            extra[name] = own
    made = (cls.__bases__, (cls.__name__, cls.__qualname__, cls.__module__), members, token)
    state = (token, attributes, _registered(cls), extra)
    return build_types.make_enum, made, state, None, None, build_types.set_enum


def reduce_typevar(_encoding: Encoding, variable: Any) -> Any:
    """By reference when importable, else by its definition, under a token."""
    located = locate(variable, variable.__name__)
    if located is not None:
        return build.attribute, located
    args: tuple[Any, ...] = (variable.__name__, *getattr(variable, "__constraints__", ()))
    options: dict[str, Any] = {}
    for name in ("bound", "covariant", "contravariant", "infer_variance"):
        value = getattr(variable, f"__{name}__", None)
        if value:
            options[name] = value
    if hasattr(variable, "has_default") and variable.has_default():
        options["default"] = variable.__default__
    token = registry.token(variable)
    return build_types.make_typevar, (type(variable), args, options, variable.__module__, token)


def reduce_forward(_encoding: Encoding, forward: typing.ForwardRef) -> Any:
    """By its text: it holds code that belongs to one version of Python."""
    made = (
        forward.__forward_arg__,
        forward.__forward_is_argument__,
        forward.__forward_module__,
        forward.__forward_is_class__,
    )
    return build_types.make_forward, made


def reduce_type_alias(_encoding: Encoding, alias: Any) -> Any:
    """By reference when importable, else by name, value and parameters, under a token."""
    located = locate(alias, alias.__name__)
    if located is not None:
        return build.attribute, located
    made = (alias.__name__, alias.__value__, alias.__type_params__, registry.token(alias))
    return build_types.make_type_alias, made


def reduce_newtype(_encoding: Encoding, new: Any) -> Any:
    """By reference when importable, else by its definition, under a token."""
    located = locate(new, new.__name__)
    if located is not None:
        return build.attribute, located
    token = registry.token(new)
    return build_types.make_newtype, (new.__name__, new.__supertype__, new.__module__, token)
