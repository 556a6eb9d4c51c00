"""How objects of the standard library travel that plain pickle refuses, or takes for something they are not.

Constructors here stand in streams, as those of `build` do.
"""

from __future__ import annotations

import contextvars
import copyreg
import pickle
import re
import struct
import sys
import types
import weakref
from typing import Any

from rpc_magic.serial import build
from rpc_magic.serial.encoding import Encoding
from rpc_magic.serial.locate import MAIN_NAMES
from rpc_magic.serial.tokens import registry

__all__ = [
    "make_context",
    "make_context_variable",
    "make_match",
    "reduce_context",
    "reduce_context_variable",
    "reduce_library",
    "reduce_local",
    "reduce_match",
    "reduce_struct",
    "reduce_weak_dict",
    "reduce_weak_method",
    "refuse_handle",
]

_NOTHING = object()


def reduce_match(_encoding: Encoding, match: re.Match[Any]) -> Any:
    """A match is made again, in a way that is known to give the same one."""
    text, end = match.string, match.endpos
    for how, start in (
        ("match", match.pos),
        ("fullmatch", match.pos),
        ("search", match.pos),
        ("match", match.start()),
    ):
        again = getattr(match.re, how)(text, start, end)
        if again is not None and again.regs == match.regs:
            return make_match, (match.re, how, text, start, end)
    raise pickle.PicklingError("the match cannot be made again; send its groups")


def make_match(pattern: re.Pattern[Any], how: str, text: Any, start: int, end: int) -> Any:
    """Match again; stands in a stream."""
    return getattr(pattern, how)(text, start, end)


def reduce_struct(_encoding: Encoding, layout: struct.Struct) -> Any:
    """A layout, by its format."""
    return struct.Struct, (layout.format,)


def reduce_weak_dict(_encoding: Encoding, thing: Any) -> Any:
    """A dictionary with weak keys or values, and what it has that is alive."""
    return type(thing), (), None, None, iter(list(thing.items()))


def reduce_weak_method(_encoding: Encoding, reference: weakref.WeakMethod[Any]) -> Any:
    """A weak reference to a method; a dead one stays dead."""
    method = reference()
    return (build.make_weakref, ()) if method is None else (weakref.WeakMethod, (method,))


def reduce_local(_encoding: Encoding, local: Any) -> Any:
    """Values of a thread, as this thread has them."""
    return copyreg.__newobj__, (type(local),), dict(local.__dict__)  # type: ignore[attr-defined]  # pickle's own


def reduce_context_variable(_encoding: Encoding, variable: contextvars.ContextVar[Any]) -> Any:
    """By reference when a module has it, else by its name, its default and its value here, under a token."""
    for name, module in list(sys.modules.copy().items()):
        if name not in MAIN_NAMES and type(module) is types.ModuleType:
            for attribute, value in list(vars(module).items()):
                if value is variable:
                    return build.attribute, (name, attribute)
    default = _default_of(variable)
    options = {} if default is _NOTHING else {"default": default}
    value = variable.get(_NOTHING)
    state = () if value is _NOTHING or value is default else (value,)
    return make_context_variable, (registry.token(variable), variable.name, options, state)


def _default_of(variable: contextvars.ContextVar[Any]) -> Any:
    try:
        return contextvars.Context().run(variable.get)
    except LookupError:
        return _NOTHING


def make_context_variable(token: str, name: str, options: dict[str, Any], state: tuple[Any, ...]) -> Any:
    """Make a context variable and set it, or return the one known by the token; stands in a stream."""
    known = registry.find(token)
    if known is not None:
        return known
    made: contextvars.ContextVar[Any] = contextvars.ContextVar(name, **options)
    for value in state:
        made.set(value)
    return registry.track(token, made)


def reduce_context(_encoding: Encoding, context: contextvars.Context) -> Any:
    """A context, by its variables and their values."""
    return make_context, (list(context.items()),)


def make_context(items: list[tuple[contextvars.ContextVar[Any], Any]]) -> contextvars.Context:
    """Make a context with these variables set; stands in a stream."""
    made = contextvars.Context()
    for variable, value in items:
        made.run(variable.set, value)
    return made


def reduce_library(_encoding: Encoding, library: Any) -> Any:
    """A shared library is loaded again by its name: its handle is an address of this process."""
    return type(library), (library._name,)  # noqa: SLF001  # nothing public has the name


def refuse_handle(_encoding: Encoding, thing: Any) -> Any:
    """What stands for something of this process: a copy would act on a stranger's, or on nothing."""
    kind: Any = type(thing)
    plain: Any = object
    if kind.__reduce_ex__ is not plain.__reduce_ex__ or kind.__reduce__ is not plain.__reduce__:
        return NotImplemented  # it knows better
    if kind.__getstate__ is not plain.__getstate__:
        return NotImplemented
    raise pickle.PicklingError("it belongs to this process; make it where it is needed")
