"""How functions, closure cells, methods and modules travel."""

from __future__ import annotations

import functools
import types
from typing import Any

from rpc_magic.serial import build
from rpc_magic.serial.encoding import (
    Encoding,
    global_names,
    intern_values,
    interned,
    named_submodules,
    pack_code,
)
from rpc_magic.serial.locate import is_importable_module, locate
from rpc_magic.serial.source import pack_source

__all__ = [
    "reduce_cached",
    "reduce_cached_property",
    "reduce_cell",
    "reduce_code",
    "reduce_function",
    "reduce_function_wrapper",
    "reduce_method",
    "reduce_module",
    "reduce_property",
]

_SPECIAL_ATTRIBUTES = ("__defaults__", "__kwdefaults__", "__doc__")

_OF_THE_INTERPRETER = frozenset({"__builtins__", "__name__", "__spec__", "__loader__", "__package__"})
"""Globals that belong to the namespace they are in: never carried to another one."""

_LEFT_IN_MODULE = frozenset({"__builtins__", "__loader__", "__spec__"})


def _carried_globals(encoding: Encoding, function: types.FunctionType) -> dict[str, Any]:
    namespace = function.__globals__
    if encoding.is_home(namespace) and not encoding.carry:
        return {}
    return {
        name: namespace[name]
        for name in global_names(function.__code__)
        if name in namespace and name not in _OF_THE_INTERPRETER
    }


def _cells(encoding: Encoding, function: types.FunctionType) -> tuple[list[Any], list[Any]]:
    """Return (cell, content) pairs that no other function has taken yet, and all contents."""
    taken, contents = [], []
    for cell in function.__closure__ or ():
        try:
            content = cell.cell_contents
        except ValueError:  # an empty cell
            continue
        contents.append(content)
        if id(cell) not in encoding.owned_cells:
            encoding.owned_cells[id(cell)] = cell
            taken.append((cell, content))
    return taken, contents


def _special(function: types.FunctionType) -> dict[str, Any]:
    special: dict[str, Any] = {"__qualname__": function.__qualname__, "__module__": function.__module__}
    for name in _SPECIAL_ATTRIBUTES:
        value = getattr(function, name)
        if value is not None:
            special[name] = value
    if function.__annotations__:
        special["__annotations__"] = function.__annotations__
    parameters = getattr(function, "__type_params__", ())
    if parameters:
        special["__type_params__"] = parameters
    return intern_values(special)


def reduce_function(encoding: Encoding, function: types.FunctionType) -> Any:
    """By reference when importable, else made empty and filled: code, cells, globals it refers to."""
    if locate(function) is not None:
        encoding.modules.add(function.__module__)
        return NotImplemented
    code = function.__code__
    carried = _carried_globals(encoding, function)
    taken, contents = _cells(encoding, function)
    modules = named_submodules(code, [*carried.values(), *contents])
    state = (
        intern_values(function.__dict__),
        _special(function),
        carried,
        taken,
        modules,
        encoding.origin(function),
    )
    made: tuple[Any, ...]
    made = (code, encoding.globals_marker(function), interned(function.__name__), function.__closure__)
    if encoding.code == "source" and code.co_freevars:
        made += (code.co_freevars,)
    return build.make_function, made, state, None, None, build.set_function


def reduce_code(encoding: Encoding, code: types.CodeType) -> Any:
    """As bytecode, marked with the version it belongs to, or as source."""
    return pack_source(code) if encoding.code == "source" else pack_code(code)


def reduce_cell(encoding: Encoding, cell: types.CellType) -> Any:
    """Made empty; filled by the first function that owns it, or else by itself."""
    if id(cell) in encoding.owned_cells:
        return build.make_cell, ()
    encoding.owned_cells[id(cell)] = cell
    try:
        content = cell.cell_contents
    except ValueError:  # an empty cell
        return build.make_cell, ()
    return build.make_cell, (), (content,), None, None, build.set_cell


def reduce_module(encoding: Encoding, module: types.ModuleType) -> Any:
    """By name; a module that cannot be imported takes its contents along."""
    if module.__name__ == "__main__" or is_importable_module(module):
        encoding.modules.add(module.__name__)
        return build.module, (module.__name__,)
    state = {name: value for name, value in module.__dict__.items() if name not in _LEFT_IN_MODULE}
    return build.make_module, (module.__name__,), state, None, None, build.set_module


def reduce_method(_encoding: Encoding, method: types.MethodType) -> Any:
    """Function and object; the notebook's own ``get_ipython`` is the receiver's."""
    function: Any = method.__func__
    owner = method.__self__
    if getattr(function, "__name__", "") == "get_ipython" and is_shell(type(owner)):
        return getattr, (build, "shell")
    return types.MethodType, (function, owner)


def reduce_function_wrapper(_encoding: Encoding, wrapper: Any) -> Any:
    """A ``classmethod`` or ``staticmethod`` and its function."""
    return type(wrapper), (wrapper.__func__,)


def reduce_cached(_encoding: Encoding, cached: Any) -> Any:
    """What ``functools.lru_cache`` made: by reference when importable, else anew, with an empty cache."""
    if locate(cached) is not None:
        return cached.__qualname__
    parameters = cached.cache_parameters()
    made = (parameters["maxsize"], parameters["typed"], cached.__wrapped__)
    return build.make_cached, made, cached.__dict__


def reduce_cached_property(_encoding: Encoding, thing: functools.cached_property[Any]) -> Any:
    """What ``functools.cached_property`` made; its lock, which only some versions have, is made anew."""
    state = {name: value for name, value in vars(thing).items() if name not in {"func", "lock"}}
    return type(thing), (thing.func,), state


def reduce_property(_encoding: Encoding, thing: property) -> Any:
    """A property and its functions."""
    return type(thing), (thing.fget, thing.fset, thing.fdel, thing.__doc__)


def is_shell(kind: type) -> bool:
    """Tell whether a class is an IPython shell's."""
    return any(
        base.__name__ == "InteractiveShell" and str(base.__module__).startswith("IPython.")
        for base in kind.__mro__
    )
