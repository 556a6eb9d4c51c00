"""Constructors on the wire: what a stream calls to make functions, classes and the like.

Their names and arguments are the format: a stream names them by module and name. An object that can be part
of a cycle is made empty first and given its state by a setter afterwards, so that the pickle's memo knows it
in between. Surroundings (the namespace) come from `rpc_magic.serial.context`.
"""

from __future__ import annotations

import _thread
import builtins
import functools
import importlib.util
import marshal
import sys
import threading
import types
import weakref
from importlib import import_module
from typing import Any

from rpc_magic.errors import TransferError
from rpc_magic.serial.context import current
from rpc_magic.serial.tokens import registry

__all__ = [
    "MAGIC",
    "attribute",
    "home_globals",
    "make_cached",
    "make_cell",
    "make_code",
    "make_function",
    "make_globals",
    "make_lock",
    "make_module",
    "make_rlock",
    "make_thread_handle",
    "make_view",
    "make_weakref",
    "module",
    "set_cell",
    "set_function",
    "set_module",
    "shell",
    "standard_stream",
]

MAGIC = int.from_bytes(importlib.util.MAGIC_NUMBER, "little")
"""Names the bytecode of this Python; code of another one must never be loaded (it crashes the process)."""


def make_code(magic: int, minor: int, data: bytes) -> types.CodeType:
    """Make a code object from its marshalled form.

    Args:
        magic: the bytecode's magic number.
        minor: Python's minor version there, for the message.
        data: `marshal` bytes.

    Raises:
        TransferError: it is the bytecode of another Python version.
    """
    if magic != MAGIC:
        raise TransferError(
            "",
            "code",
            f"it is bytecode of Python 3.{minor}, which Python 3.{sys.version_info.minor} cannot run; "
            "use the same minor version on both sides",
        )
    code = marshal.loads(data)
    if not isinstance(code, types.CodeType):
        raise TransferError("", type(code).__name__, "a code object was expected")
    return code


def home_globals() -> dict[str, Any]:
    """Return the receiver's namespace."""
    return current().home_globals()


def make_globals(token: str, start: dict[str, Any]) -> dict[str, Any]:
    """Return globals of functions that bring their own: at their origin the living ones, else fresh ones."""
    if registry.is_own(token):
        function = registry.find(token)
        if function is not None:
            found: dict[str, Any] = function.__globals__
            return found
    return current().fresh_globals(start)


def make_function(
    code: types.CodeType,
    namespace: dict[str, Any],
    name: str,
    cells: tuple[types.CellType, ...] | None,
    free: tuple[str, ...] | None = None,
) -> types.FunctionType:
    """Make a function that still lacks its state.

    Args:
        code: its code.
        namespace: its globals.
        name: its name.
        cells: its closure.
        free: names of the cells, where the code was compiled here and may have them in another order.
    """
    if free is not None and cells is not None and free != code.co_freevars:
        by_name = dict(zip(free, cells, strict=True))
        cells = tuple(by_name.get(free_name) or types.CellType() for free_name in code.co_freevars)
    namespace.setdefault("__builtins__", builtins)
    return types.FunctionType(code, namespace, name, None, cells)


def _is_authority(token: str, namespace: dict[str, Any]) -> bool:
    """Tell whether a function has come home to globals that know better than what it carries."""
    if not registry.is_own(token):
        return False
    return token == registry.home_token(namespace) or registry.find(token) is not None


def set_function(function: types.FunctionType, state: tuple[Any, ...]) -> None:
    """Give a function its state.

    Args:
        function: what `make_function` made.
        state: attributes, special attributes, globals it refers to, contents of its cells, modules it needs
            imported (they have been, by being named), token of its origin.
    """
    attributes, special, carried, cells, _modules, token = state
    if attributes:
        function.__dict__.update(attributes)
    for name, value in special.items():
        setattr(function, name, value)
    for cell, content in cells:
        cell.cell_contents = content
    if carried:
        decoding, namespace = current(), function.__globals__
        if id(namespace) in decoding.fresh or not _is_authority(token, namespace):
            decoding.bind(namespace, carried)
    if token:
        registry.note_origin(token, function)


def make_cell() -> types.CellType:
    """Make an empty closure cell."""
    return types.CellType()


def set_cell(cell: types.CellType, state: tuple[Any, ...]) -> None:
    """Fill a closure cell."""
    cell.cell_contents = state[0]


def make_cached(maxsize: int | None, typed: bool, function: Any) -> Any:
    """Put an empty ``functools.lru_cache`` around a function."""
    return functools.lru_cache(maxsize, typed)(function)


def make_weakref(*target: Any) -> weakref.ref[Any]:
    """Make a weak reference to the target; without one, a dead one."""
    return weakref.ref(*target or (set(),))


def module(name: str) -> Any:
    """Import a module; ``__main__`` is the receiver's own."""
    found = sys.modules.get(name)
    return import_module(name) if found is None else found


def attribute(module_name: str, name: str) -> Any:
    """Return an attribute of a module, by its qualified name."""
    found = module(module_name)
    for part in name.split("."):
        found = getattr(found, part)
    return found


def make_module(name: str) -> types.ModuleType:
    """Make an empty module that is not in `sys.modules`."""
    return types.ModuleType(name)


def set_module(made: types.ModuleType, state: dict[str, Any]) -> None:
    """Fill a module made by `make_module`."""
    made.__dict__.update(state)
    made.__dict__["__builtins__"] = builtins


def make_lock() -> Any:
    """Make an unlocked lock: whether one was held says nothing in another process."""
    return threading.Lock()


def make_rlock() -> Any:
    """Make an unlocked reentrant lock."""
    return threading.RLock()


def make_thread_handle(has_begun: bool) -> Any:
    """Make the handle of a thread that can be started, or of one that is over."""
    if not has_begun:
        return _thread._ThreadHandle()  # type: ignore[attr-defined]  # noqa: SLF001  # since Python 3.13
    handle = _thread._make_thread_handle(0)  # type: ignore[attr-defined]  # noqa: SLF001  # since Python 3.13
    handle._set_done()  # noqa: SLF001  # threading's own way to say so
    return handle


def standard_stream(name: str) -> Any:
    """Return the receiver's own ``stdin``, ``stdout`` or ``stderr``."""
    return getattr(sys, name)


def shell() -> Any:
    """Return the receiver's IPython shell, None when it has none."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def make_view(data: Any, layout: str, shape: tuple[int, ...]) -> memoryview:
    """Make a memoryview with items of a format and a shape over bytes."""
    flat: Any = memoryview(data).cast("B")
    view: memoryview = flat if layout == "B" and len(shape) == 1 else flat.cast(layout, shape)
    return view
