"""Constructors on the wire for classes, enums, type variables and exceptions; see `build`."""

from __future__ import annotations

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any

from rpc_magic.serial.tokens import registry

__all__ = [
    "make_array",
    "make_class",
    "make_enum",
    "make_exception",
    "make_exception_by",
    "make_forward",
    "make_newtype",
    "make_type_alias",
    "make_typeddict",
    "make_typevar",
    "set_class",
    "set_enum",
    "set_exception",
]

_ALWAYS_KNOWN = ("bound", "covariant", "contravariant")
"""Options of type variables that every version of Python knows."""


def _new(token: str, made: Any) -> Any:
    registry.mark_unfilled(made)
    return registry.track(token, made)


@contextlib.contextmanager
def _quiet_bases(bases: tuple[Any, ...]) -> Iterator[None]:
    """Keep the ``__init_subclass__`` of classes that travelled from running a second time."""
    quieted: list[tuple[Any, Any]] = []
    for base in bases:
        for cls in getattr(base, "__mro__", ()):
            known = registry.known_token(cls) is not None
            if known and "__init_subclass__" in cls.__dict__ and all(cls is not q for q, _ in quieted):
                quieted.append((cls, cls.__dict__["__init_subclass__"]))
    try:
        for cls, _ in quieted:
            cls.__init_subclass__ = classmethod(lambda _cls, **_: None)
        yield
    finally:
        for cls, original in quieted:
            cls.__init_subclass__ = original


def make_class(meta: Any, name: str, bases: tuple[Any, ...], start: dict[str, Any], token: str) -> Any:
    """Make a class that still lacks most of its attributes, or return the one known by the token.

    Args:
        meta: its metaclass.
        name: its name.
        bases: its bases.
        start: what must be in the class body from the beginning (slots, qualified name, ...).
        token: its token.
    """
    known = registry.find(token)
    if known is not None:
        return known
    with registry.lock, _quiet_bases(bases):
        made = types.new_class(name, bases, {"metaclass": meta}, lambda body: body.update(start))
    return _new(token, made)


def set_class(cls: Any, state: tuple[Any, ...]) -> None:
    """Give a class its attributes; one that came home has them, and takes over only what was changed elsewhere.

    Args:
        cls: what `make_class` returned.
        state: token, attributes, classes registered with it (or None); a fourth where it is known whether they were
            changed elsewhere.
    """
    token, attributes, registered = state[:3]
    is_new = registry.take_unfilled(cls)
    is_changed = state[3] if len(state) > 3 else not registry.is_own(token)
    if not is_new and not is_changed:
        return
    if registry.is_own(token) and not is_new:
        attributes = {name: v for name, v in attributes.items() if not _is_same(vars(cls).get(name), v)}
    first_line = attributes.pop("__firstlineno__", None)
    if not is_new:
        attributes.pop("_fields_", None)  # ctypes lets it be set once
    for name, value in attributes.items():
        setattr(cls, name, value)
    if first_line is not None:
        cls.__firstlineno__ = first_line
    for subclass in registered or ():
        cls.register(subclass)


def _is_same(mine: Any, theirs: Any) -> bool:
    """Tell whether an attribute of a class was not changed, as far as methods go."""
    if isinstance(mine, (classmethod, staticmethod)) and type(mine) is type(theirs):
        return _is_same(mine.__func__, theirs.__func__)
    if isinstance(mine, types.FunctionType) and isinstance(theirs, types.FunctionType):
        return mine.__code__ == theirs.__code__
    return mine is theirs or (isinstance(mine, property) and isinstance(theirs, property))


def make_enum(
    bases: tuple[Any, ...], names: tuple[str, str, str], members: dict[str, Any], token: str
) -> Any:
    """Make an enum class with its members.

    Args:
        bases: its bases, the enum class last.
        names: name, qualified name, module.
        members: values by name, aliases included.
        token: its token.
    """
    known = registry.find(token)
    if known is not None:
        return known
    name, qualified, module = names
    meta: Any = type(bases[-1])
    with registry.lock, _quiet_bases(bases):
        body = meta.__prepare__(name, bases)
        for key, value in members.items():
            body[key] = value
        made = meta.__new__(meta, name, bases, body)
    made.__module__ = module
    made.__qualname__ = qualified
    return _new(token, made)


def set_enum(cls: Any, state: tuple[Any, ...]) -> None:
    """Give an enum class its attributes, and its members theirs (`state[3]`)."""
    with registry.lock:
        is_new = registry.take_unfilled(cls)
        if registry.is_own(state[0]) and not is_new:
            return
        if is_new:
            registry.mark_unfilled(cls)
        set_class(cls, state)
    for name, attributes in state[3].items():
        cls._member_map_[name].__dict__.update(attributes)


def make_typevar(kind: Any, args: tuple[Any, ...], options: dict[str, Any], module: str, token: str) -> Any:
    """Make a type variable, or return the one known by the token."""
    known = registry.find(token)
    if known is not None:
        return known
    try:
        made = kind(*args, **options)
    except TypeError:  # Python before 3.12 and 3.13 knows no inferred variance and no default
        made = kind(*args, **{name: value for name, value in options.items() if name in _ALWAYS_KNOWN})
    with contextlib.suppress(AttributeError):
        made.__module__ = module
    return registry.track(token, made)


def make_newtype(name: str, supertype: Any, module: str, token: str) -> Any:
    """Make a `typing.NewType`, or return the one known by the token."""
    known = registry.find(token)
    if known is not None:
        return known
    made = sys.modules["typing"].NewType(name, supertype)
    made.__module__ = module
    return registry.track(token, made)


def make_forward(argument: str, is_argument: bool, module: Any, is_class: bool) -> Any:
    """Make a `typing.ForwardRef`, an annotation that is a text; each Python compiles it for itself."""
    return sys.modules["typing"].ForwardRef(argument, is_argument, module=module, is_class=is_class)


def make_typeddict(meta: Any, name: str, bases: tuple[Any, ...], start: dict[str, Any], token: str) -> Any:
    """Make a `typing.TypedDict` as `make_class` does; its metaclass would not have it with these bases."""
    known = registry.find(token)
    return _new(token, type.__new__(meta, name, bases, start)) if known is None else known


def make_type_alias(name: str, value: Any, parameters: tuple[Any, ...], token: str) -> Any:
    """Make what a ``type`` statement makes, or return the one known by the token."""
    known = registry.find(token)
    if known is not None:
        return known
    alias: Any = sys.modules["typing"].TypeAliasType  # since Python 3.12
    return registry.track(token, alias(name, value, type_params=parameters))


def make_exception(cls: Any, args: tuple[Any, ...]) -> BaseException:
    """Make an exception without running its class's own ``__init__``, whose arguments are not known."""
    error: BaseException = cls.__new__(cls, *args)
    built_in = next(c for c in cls.__mro__ if c.__module__ == "builtins")
    if built_in not in (Exception, BaseException):
        with contextlib.suppress(Exception):
            built_in.__init__(error, *args)
    error.args = args
    return error


def make_exception_by(maker: Any, args: tuple[Any, ...]) -> Any:
    """Make an exception as its own ``__reduce__`` says, or without ``__init__`` where that fails."""
    try:
        return maker(*args)
    except Exception:
        if isinstance(maker, type) and issubclass(maker, BaseException):
            return make_exception(maker, args)
        raise


def set_exception(error: Any, state: tuple[Any, ...]) -> None:
    """Give an exception its state.

    Args:
        error: the exception.
        state: attributes, arguments, cause, context, whether the context is hidden, and what its class passes
            to its own ``__setstate__`` (or None).
    """
    attributes, args, cause, context, is_suppressed, own_state = state
    if own_state is not None:
        error.__setstate__(own_state)
    with contextlib.suppress(Exception):
        error.args = args
    error.__dict__.update(attributes)
    error.__cause__ = cause
    error.__context__ = context
    error.__suppress_context__ = is_suppressed


def make_array(cls: Any, base: Any, attributes: dict[str, Any] | None) -> Any:
    """Make an instance of a numpy array's subclass from a plain array."""
    made = base.view(cls)
    if attributes:
        made.__dict__.update(attributes)
    return made
