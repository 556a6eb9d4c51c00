"""The pickler: C pickle, with our own say on what travels by value and how.

`reducer_override` is asked for every object that is not a number, string or plain container. Its first test
answers for instances of types already found plain, which keeps them at the speed of C pickle.
"""

from __future__ import annotations

import _io
import _thread
import abc
import contextvars
import functools
import pickle
import re
import struct
import sys
import types
import typing
import weakref
from collections.abc import Callable
from typing import Any

from rpc_magic.serial import arrow, bridge, standard, tensors
from rpc_magic.serial import reduce_functions as functions
from rpc_magic.serial import reduce_types as classes
from rpc_magic.serial import reduce_values as values
from rpc_magic.serial.encoding import Encoding

__all__ = ["PROTOCOL", "Pickler", "reducer_override_for"]

PROTOCOL = 5

_Reducer = Callable[[Encoding, Any], Any]

_TABLE: dict[type, _Reducer] = {
    types.FunctionType: functions.reduce_function,
    functools._lru_cache_wrapper: functions.reduce_cached,  # noqa: SLF001  # nothing public names the type
    functools.cached_property: functions.reduce_cached_property,
    types.CodeType: functions.reduce_code,
    types.CellType: functions.reduce_cell,
    types.ModuleType: functions.reduce_module,
    types.MethodType: functions.reduce_method,
    classmethod: functions.reduce_function_wrapper,
    staticmethod: functions.reduce_function_wrapper,
    abc.abstractclassmethod: functions.reduce_function_wrapper,
    abc.abstractstaticmethod: functions.reduce_function_wrapper,
    property: functions.reduce_property,
    abc.abstractproperty: functions.reduce_property,
    type: classes.reduce_class,
    abc.ABCMeta: classes.reduce_class,
    typing.TypeVar: classes.reduce_typevar,
    typing.ParamSpec: classes.reduce_typevar,
    typing.TypeVarTuple: classes.reduce_typevar,
    typing.ForwardRef: classes.reduce_forward,
    typing.NewType: classes.reduce_newtype,
    _thread.LockType: values.reduce_lock,
    _thread.RLock: values.reduce_rlock,
    memoryview: values.reduce_memoryview,
    types.MappingProxyType: values.reduce_proxy,
    weakref.ref: values.reduce_weakref,
    weakref.WeakSet: values.reduce_weakset,
    weakref.WeakKeyDictionary: standard.reduce_weak_dict,
    weakref.WeakValueDictionary: standard.reduce_weak_dict,
    weakref.WeakMethod: standard.reduce_weak_method,
    contextvars.Context: standard.reduce_context,
    contextvars.ContextVar: standard.reduce_context_variable,
    re.Match: standard.reduce_match,
    struct.Struct: standard.reduce_struct,
}


if sys.version_info >= (3, 12):
    _TABLE[typing.TypeAliasType] = classes.reduce_type_alias

_FILE: type = _io._IOBase  # noqa: SLF001  # nothing public is a plain class
"""What files inherit from; ``io.IOBase`` asks abc, which crashes at types that Python never made ready."""

_OF_LIBRARIES: tuple[tuple[str, str, _Reducer], ...] = (
    ("numpy", "ndarray", values.reduce_array),
    ("numpy", "vectorize", values.reduce_vectorized),
    ("_thread", "_ThreadHandle", values.reduce_thread_handle),  # since Python 3.13
    ("_thread", "_local", standard.reduce_local),
    ("asyncio.events", "AbstractEventLoop", standard.refuse_handle),
    ("concurrent.futures._base", "Executor", standard.refuse_handle),
    ("ctypes", "CDLL", standard.reduce_library),
    ("subprocess", "Popen", standard.refuse_handle),
    ("torch", "UntypedStorage", tensors.reduce_storage),
    ("torch.storage", "TypedStorage", tensors.reduce_typed_storage),
)
"""Classes of modules that may not be loaded; their subclasses' instances too travel in a way of their own."""


def _reducer_of(kind: type) -> _Reducer | None:
    """Find how instances of a type that is not in the table travel; None when plain pickle knows."""
    if issubclass(kind, type):
        return classes.reduce_class
    if issubclass(kind, BaseException):
        return values.reduce_exception
    if issubclass(kind, _FILE):
        return values.reduce_file
    for module_name, name, reducer in _OF_LIBRARIES:
        base = getattr(sys.modules.get(module_name), name, None)
        if base is not None and issubclass(kind, base):
            return reducer
    if arrow.is_arrow(kind):
        return arrow.reduce_slice
    if bridge.is_dills(kind):
        return _by_dill
    if kind.__name__ == "PyCapsule":
        return values.refuse_capsule
    module = kind.__module__
    if isinstance(module, str) and module.startswith(("IPython.", "ipykernel.")) and functions.is_shell(kind):
        return values.reduce_shell
    return None


def _by_dill(_encoding: Encoding, thing: Any) -> Any:
    return bridge.reduce(thing)


_found: dict[int, tuple[weakref.ref[type], _Reducer | None]] = {
    id(kind): (weakref.ref(kind), reducer) for kind, reducer in _TABLE.items()
}
"""Reducers of types met so far, by the type's identity; types come and go."""


def _reducer_for(kind: type) -> _Reducer | None:
    """Return how instances of a type travel; None when plain pickle knows."""
    key = id(kind)
    entry = _found.get(key)
    if entry is not None and entry[0]() is kind:
        return entry[1]
    reducer = _reducer_of(kind)
    _found[key] = (weakref.ref(kind, lambda _: _found.pop(key, None)), reducer)
    return reducer


def reducer_override_for(encoding: Encoding) -> Callable[[Any], Any]:
    """Return what a pickler asks how an object travels: its `reducer_override`.

    It is a function of its own and no method, which the many instances of plain types feel.
    """
    plain: set[type] = set()  # their instances are left to plain pickle

    def reducer_override(thing: Any) -> Any:
        kind = type(thing)
        if kind in plain:
            return NotImplemented
        reducer = _reducer_for(kind)
        if reducer is None:
            plain.add(kind)
            return NotImplemented
        return reducer(encoding, thing)

    return reducer_override


class Pickler(pickle.Pickler):
    """C pickle with our reducers.

    Args:
        file: anything with a `write` method; it gets large bytes objects as they are, not copied.
        keep_in_band: called with each `pickle.PickleBuffer`; false takes it out-of-band.
        encoding: the encode's state.
    """

    def __init__(self, file: Any, keep_in_band: Callable[[Any], Any] | None, encoding: Encoding) -> None:
        super().__init__(file, PROTOCOL, buffer_callback=keep_in_band)
        self.reducer_override = reducer_override_for(encoding)  # type: ignore[method-assign]  # see there
