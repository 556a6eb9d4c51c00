"""Which part of an object cannot travel: found by pickling again on the Python pickler, which can be watched.

The Python pickler runs the same reducers and keeps a stack of what it is inside of. This happens only after a
failure, and for a limited time.
"""

from __future__ import annotations

import functools
import pickle
import sys
import time
import types
from collections import deque
from typing import Any

from rpc_magic import errors
from rpc_magic.serial.encoding import Encoding, global_names
from rpc_magic.serial.pickler import PROTOCOL, reducer_override_for

__all__ = ["as_its_cause", "transfer_error", "type_name"]

_SECONDS = 10.0
"""For how long the culprit is looked for: the Python pickler is some 40 times slower than the C one."""

_TIME_CHECK_EVERY = 4096

_REASON_LENGTH = 300


class TransferError(errors.TransferError, pickle.PicklingError):
    """As raised here it is also what code expects that knows nothing but pickle."""


class _GiveUpError(Exception):
    """The time to look for the culprit ran out."""


class _NullFile:
    def write(self, _data: bytes) -> None:
        pass


_PythonPickler: Any = pickle._Pickler  # noqa: SLF001  # the only Python pickler


_SAVERS: dict[type, Any] = {
    types.FunctionType: _PythonPickler.save_global,
    type: _PythonPickler.save_type,
    type(None): _PythonPickler.save_none,
    bool: _PythonPickler.save_bool,
    int: _PythonPickler.save_long,
    pickle.PickleBuffer: _PythonPickler.save_picklebuffer,
    **{
        kind: getattr(_PythonPickler, f"save_{kind.__name__}")
        for kind in (float, bytes, bytearray, str, tuple, list, dict, set, frozenset)
    },
}
"""The Python pickler's own, without what an import of dill puts in their place for the whole process."""


class _WatchedPickler(_PythonPickler):  # type: ignore[misc]  # typeshed does not know it
    """Pickles to nowhere and knows at each moment what it is inside of."""

    dispatch = _SAVERS

    def __init__(self, encoding: Encoding) -> None:
        super().__init__(_NullFile(), PROTOCOL, buffer_callback=lambda _: False)
        self.reducer_override = reducer_override_for(encoding)
        self.inside: list[Any] = []
        self._count = 0
        self._deadline = time.monotonic() + _SECONDS

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        self._count += 1
        if not self._count % _TIME_CHECK_EVERY and time.monotonic() > self._deadline:
            raise _GiveUpError
        self.inside.append(obj)
        super().save(obj, save_persistent_id)
        self.inside.pop()


def type_name(thing: object) -> str:
    """Return an object's type as people write it: builtins without their module."""
    kind = type(thing)
    module = kind.__module__
    return kind.__qualname__ if module in ("builtins", "__main__") else f"{module}.{kind.__qualname__}"


def transfer_error(obj: object, encoding: Encoding, name: str, error: BaseException) -> TransferError:
    """Explain why an object could not be pickled.

    Args:
        obj: the object.
        encoding: a fresh state for pickling it again.
        name: the variable's name; may be empty.
        error: what went wrong.

    Returns:
        An error that names the path to the culprit where it can be found.
    """
    if isinstance(error, RecursionError):
        reason = "it is nested too deeply: so deep recursion is beyond Python's limit"
        return TransferError(name, type_name(obj), reason)
    watched = _WatchedPickler(encoding)
    if not name and isinstance(obj, (types.FunctionType, type)):
        name = obj.__name__
    try:
        watched.dump(obj)
    except (KeyboardInterrupt, MemoryError):
        raise
    except _GiveUpError:
        return TransferError(name, type_name(obj), f"something inside it cannot: {_reason(error)}")
    except RecursionError:
        return TransferError(name, type_name(obj), _reason(error))
    except BaseException as again:  # noqa: BLE001  # whatever a user's __reduce__ raises is the reason
        inside = watched.inside
        path = _path(inside, name)
        return TransferError(path, type_name(inside[-1]), _reason(again))
    return TransferError(name, type_name(obj), _reason(error))


def as_its_cause(error: errors.TransferError) -> errors.TransferError:
    """Return the same error such that ``except`` with the builtin class of its cause catches it as well.

    Code that knows nothing but pickle expects what the object's own ``__reduce__`` raises.
    """
    cause = error.__cause__
    if not isinstance(cause, Exception):
        return error
    kind = next(kind for kind in type(cause).__mro__ if kind.__module__ == "builtins")
    return _class_like(kind)(error.path, error.type_name, error.reason)


@functools.cache
def _class_like(kind: type[Exception]) -> type[TransferError]:
    if issubclass(TransferError, kind) or kind.__basicsize__ != Exception.__basicsize__:
        return TransferError  # it is one, or is made from other arguments

    class BothError(TransferError, kind):  # type: ignore[valid-type,misc]
        __str__ = Exception.__str__  # a KeyError's own shows what was looked for

        def __reduce__(self) -> Any:
            plain = TransferError(self.path, self.type_name, self.reason)
            return plain.__reduce__()

    BothError.__name__, BothError.__qualname__ = TransferError.__name__, TransferError.__qualname__
    return BothError


def _reason(error: BaseException) -> str:
    if isinstance(error, errors.TransferError):
        return error.reason
    text = str(error).strip() or type(error).__name__
    if type(error) not in (TypeError, pickle.PicklingError):
        text = f"{type(error).__name__}: {text}"
    return text[:_REASON_LENGTH]


def _parts(owner: Any, wanted: set[int]) -> list[tuple[str, Any]]:
    """Return the named parts of an object: label and part, for a function its globals and cells and so on.

    Args:
        owner: the object.
        wanted: identities of objects that are looked for; tables are searched for these alone.
    """
    parts: list[tuple[str, Any]] = _table_parts(owner, wanted)
    if parts:
        return parts
    if isinstance(owner, dict):
        parts += [(f"[{key!r}]" if len(repr(key)) < 60 else "[...]", value) for key, value in owner.items()]
        parts += [(f"[key {type(key).__name__!s}]", key) for key in owner]
    elif isinstance(owner, tuple) and isinstance(getattr(owner, "_fields", None), tuple):
        names: tuple[str, ...] = getattr(owner, "_fields")  # noqa: B009  # a named tuple's, whose class is any
        parts += [(f".{name}", item) for name, item in zip(names, owner, strict=False)]
    elif isinstance(owner, (list, tuple, deque)):
        parts += [(f"[{index}]", item) for index, item in enumerate(owner)]
    elif isinstance(owner, (set, frozenset)):
        parts += [("{...}", item) for item in owner]
    if isinstance(owner, types.FunctionType):
        parts += _function_parts(owner)
    elif isinstance(owner, types.MethodType):
        parts += [("", owner.__self__), ("", owner.__func__)]
    elif isinstance(owner, types.CellType):
        parts.append(("", owner.cell_contents))
    elif isinstance(owner, (classmethod, staticmethod)):
        parts.append(("", owner.__func__))
    if isinstance(owner, BaseException):
        parts += [(".args", owner.args), (".__cause__", owner.__cause__), (".__context__", owner.__context__)]
    parts += _attributes(owner)
    return parts


def _is_a(thing: Any, module: str, name: str) -> bool:
    return isinstance(thing, getattr(sys.modules.get(module), name, ()))


def _table_parts(table: Any, wanted: set[int]) -> list[tuple[str, Any]]:
    """Return the wanted objects inside an array or a DataFrame or Series of pandas."""
    found: list[tuple[str, Any]] = []
    if _is_a(table, "pandas", "DataFrame"):
        for name, column in table.items():
            if column.dtype == object:
                found += [(f"[{name!r}]{where}", item) for where, item in _table_parts(column, wanted)]
    elif _is_a(table, "pandas", "Series"):
        if table.dtype == object:
            found += [(f"[{key!r}]", item) for key, item in table.items() if id(item) in wanted]
    elif _is_a(table, "numpy", "ndarray") and table.dtype == object:
        for index, item in enumerate(table.flat):
            if id(item) in wanted:
                place = sys.modules["numpy"].unravel_index(index, table.shape)
                found.append((f"[{', '.join(str(int(number)) for number in place)}]", item))
    return found


def _function_parts(function: types.FunctionType) -> list[tuple[str, Any]]:
    namespace = function.__globals__
    parts = [
        (f" -> {name}", namespace[name]) for name in global_names(function.__code__) if name in namespace
    ]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            parts.append((f" -> {name}", cell.cell_contents))
        except ValueError:  # an empty cell
            continue
    parts += [(" -> default", value) for value in function.__defaults__ or ()]
    parts += [(f" -> default of {name}", value) for name, value in (function.__kwdefaults__ or {}).items()]
    return parts


def _attributes(owner: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    try:
        own = object.__getattribute__(owner, "__dict__") if not isinstance(owner, type) else owner.__dict__
    except AttributeError:
        own = {}
    found += [(f".{name}", value) for name, value in own.items()]
    for cls in type(owner).__mro__:
        for name, slot in cls.__dict__.items():
            if isinstance(slot, types.MemberDescriptorType):
                try:
                    found.append((f".{name}", slot.__get__(owner)))
                except AttributeError:
                    continue
    return found


def _path(inside: list[Any], name: str) -> str:
    """Say how to get from the first object to the last: attributes, items, what functions refer to."""
    path, owner = name, 0
    while owner < len(inside) - 1:
        labels: dict[int, str] = {}
        wanted = {id(thing) for thing in inside[owner + 1 :]}
        for label, part in _parts(inside[owner], wanted):
            if id(part) in wanted:
                labels.setdefault(id(part), label)
        for index in range(owner + 1, len(inside)):
            if id(inside[index]) in labels:
                path += labels[id(inside[index])]
                owner = index
                break
        else:
            break
    return path.removeprefix(" -> ").removeprefix(".")
