"""Gives an existing object the content of another, so that all references to it see a change made elsewhere."""

from __future__ import annotations

import contextlib
import types
from collections import deque
from typing import Any

from rpc_magic.notebook.cstates import has_known_state, update_state

__all__ = ["update_in_place"]

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class made by Python code, or by C code at run time
_OF_C = (types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)


def update_in_place(old: Any, new: Any) -> bool:
    """Give `old` the content of `new`, an object of the same type that nobody else refers to.

    Lists, dicts, sets, bytearrays, deques, arrays of the same shape, pandas objects, functions, what
    `update_state` knows, and instances whose whole state is their ``__dict__`` and ``__slots__`` can be changed so.

    Returns:
        Whether it was done; False for any other object, which is left as it was.
    """
    if old is None or type(old) is not type(new):
        return False
    if old is new:  # as what the ``__new__`` of a singleton's class returns, however often
        return True
    if isinstance(old, (list, bytearray)):
        old[:] = new
    elif isinstance(old, (dict, set)):
        old.clear()
        old.update(new)
    elif isinstance(old, deque):
        if old.maxlen != new.maxlen:
            return False
        old.clear()
        old.extend(new)
    elif _is_from(old, "numpy", "ndarray"):
        if old.shape != new.shape or old.dtype != new.dtype or not old.flags.writeable:
            return False
        old[...] = new
    elif _is_from(old, "pandas", "DataFrame") or _is_from(old, "pandas", "Series"):
        return _update_pandas(old, new)
    elif isinstance(old, types.FunctionType) or has_known_state(old):
        update = _update_function if isinstance(old, types.FunctionType) else update_state
        if not update(old, new):
            return False
    elif not _is_all_in_python(type(old)):
        return False
    else:
        _update_slots(old, new)
    if (
        type(getattr(old, "__dict__", None)) is dict
    ):  # also what hangs on a container of a class of the user's
        old.__dict__.clear()
        old.__dict__.update(new.__dict__)
    return True


def _is_from(value: Any, package: str, name: str) -> bool:
    kind = type(value)
    return kind.__name__ == name and str(kind.__module__).partition(".")[0] == package


def _update_pandas(old: Any, new: Any) -> bool:
    """Use what pandas itself uses for ``inplace=True``; it has no public name."""
    update = getattr(old, "_update_inplace", None)
    if update is None:
        return False
    try:
        update(new)
        old.attrs = new.attrs
    except Exception:  # noqa: BLE001 - a version of pandas that does this otherwise
        return False
    return True


def _update_function(old: types.FunctionType, new: types.FunctionType) -> bool:
    """Give a function the cells' contents, the defaults and the code of another with the same free variables."""
    if old.__code__.co_freevars != new.__code__.co_freevars:
        return False
    if old.__code__ != new.__code__:  # as after a way through another version of Python
        old.__code__ = new.__code__
    for mine, theirs in zip(old.__closure__ or (), new.__closure__ or (), strict=True):
        try:
            content = theirs.cell_contents
        except ValueError:  # it is empty
            continue
        mine.cell_contents = old if content is new else content
    old.__defaults__, old.__kwdefaults__ = new.__defaults__, new.__kwdefaults__
    return True


def _update_slots(old: Any, new: Any) -> None:
    for base in type(old).__mro__[:-1]:
        for slot in vars(base).values():
            if isinstance(slot, types.MemberDescriptorType):
                try:
                    slot.__set__(old, slot.__get__(new))
                except AttributeError:  # it is empty
                    with contextlib.suppress(AttributeError):
                        slot.__delete__(old)


def _is_all_in_python(kind: type) -> bool:
    """Tell whether the state of a class's instances is their ``__dict__`` and ``__slots__`` and nothing else."""
    if isinstance(kind, type) and issubclass(kind, type):
        return False
    for base in kind.__mro__[:-1]:
        if not base.__flags__ & _HEAP_TYPE:
            return False
        if any(type(value) in _OF_C for value in vars(base).values()):
            return False  # it keeps its state in C, as random.Random does
    return "__dict__" in dir(kind) or any(vars(base).get("__slots__") for base in kind.__mro__)
