"""dill, where it knows a type that plain pickle does not.

dill's savers are used as they are: a pickler that records what they would save gives the reduction, which
the C pickler then saves. dill is imported at the first need. Its private names are no promise of dill's, so
they are checked when it is imported; and importing it must not change how ``pickle`` works for the rest of
the process.
"""

from __future__ import annotations

import collections
import pickle
import sys
from functools import cache
from typing import Any

from rpc_magic.errors import TransferError
from rpc_magic.serial import build

__all__ = ["call", "is_dills", "load_type", "reduce", "type_name"]

_PRIVATE_NAMES = ("Pickler", "_typemap", "_reverse_typemap", "_main_module", "_load_type", "_create_ftype")

_DILLS_TYPES = frozenset(
    [
        *(
            ("builtins", name)
            for name in ("dict_keys", "dict_values", "dict_items", "odict_keys", "odict_values")
        ),
        *(("builtins", name) for name in ("odict_items", "super", "classmethod_descriptor")),
        *(("builtins", name) for name in ("wrapper_descriptor", "method_descriptor", "getset_descriptor")),
        ("builtins", "member_descriptor"),
        ("weakref", "CallableProxyType"),
        ("weakref", "ProxyType"),
        ("dataclasses", "_HAS_DEFAULT_FACTORY_CLASS"),
        ("dataclasses", "_MISSING_TYPE"),
        ("dataclasses", "_KW_ONLY_TYPE"),
        ("dataclasses", "_FIELD_BASE"),
    ]
)
"""Types that dill saves and plain pickle does not, beside those for which this package has its own ways."""


def is_dills(kind: type) -> bool:
    """Tell whether instances of a type are saved dill's way."""
    return (kind.__module__, kind.__qualname__) in _DILLS_TYPES


@cache
def _dill() -> Any:
    """Import dill, leave ``pickle`` as it was, and check that the names used here are there."""
    was_there = "dill" in sys.modules
    import dill
    import dill._dill as inner

    if not was_there:
        dill.extend(False)
    missing = [name for name in _PRIVATE_NAMES if not hasattr(inner, name)]
    if missing:
        raise ImportError(
            f"dill {dill.__version__} lacks {', '.join(missing)}; rpc_magic needs dill>=0.4,<0.5", name="dill"
        )
    return inner


@cache
def _capture_class() -> type:
    dill = _dill()

    class Capture(dill.Pickler):  # type: ignore[misc,name-defined]  # dill has no type information
        """Records the one reduction that a saver of dill makes."""

        def __init__(self) -> None:
            self._main = dill._main_module  # noqa: SLF001  # the savers read these
            self._byref = self._strictio = False
            self._fmode = 0
            self._recurse = True
            self._postproc: Any = collections.OrderedDict()
            self._diff_cache: dict[Any, Any] = {}
            self.memo: dict[Any, Any] = {}
            self.proto, self.bin, self.fast, self.fix_imports = 5, True, 0, False
            self.calls: list[tuple[Any, ...]] = []

        def save_reduce(
            self,
            func: Any,
            args: Any,
            state: Any = None,
            listitems: Any = None,
            dictitems: Any = None,
            state_setter: Any = None,
            *,
            obj: Any = None,  # noqa: ARG002  # part of pickle's signature
        ) -> None:
            self.calls.append((func, args, state, listitems, dictitems, state_setter))

        def save(self, obj: Any, _save_persistent_id: bool = True) -> None:
            self.calls.append(("save", obj))

        def write(self, data: bytes) -> None:
            self.calls.append(("write", data))

        def memoize(self, obj: Any) -> None:
            pass

    return Capture


def reduce(thing: Any) -> tuple[Any, ...]:
    """Return the reduction that dill's saver makes for an object.

    Args:
        thing: an object of a type for which `is_dills` is true.

    Raises:
        pickle.PicklingError: dill saves it in a form that is no reduction.
    """
    capture = _capture_class()()
    kind = type(thing)
    _dill().Pickler.dispatch[kind](capture, thing)
    calls = capture.calls
    if len(calls) == 1 and calls[0][0] == "write" and calls[0][1][:1] == pickle.GLOBAL:
        module, name = calls[0][1][1:].decode().split("\n")[:2]
        return build.attribute, (module, name)
    if len(calls) == 3 and calls[2] == ("write", pickle.STACK_GLOBAL):
        return build.attribute, (calls[0][1], calls[1][1])
    if len(calls) != 1 or len(calls[0]) != 6:
        raise pickle.PicklingError(f"dill has no reduction for a {kind.__qualname__} object")
    maker, args, *rest = calls[0]
    if getattr(maker, "__module__", "") == "dill._dill" and hasattr(_dill(), maker.__name__):
        maker, args = call, (maker.__name__, *args)
    return (maker, args, *rest) if rest[-1] is not None else (maker, args, *rest[:-1])


def call(name: str, *args: Any) -> Any:
    """Call one of dill's constructors; stands in a stream.

    Args:
        name: its name in dill.
        args: its arguments.

    Raises:
        TransferError: this side's dill has no such constructor.
    """
    maker = getattr(_dill(), name, None)
    if maker is None:
        raise TransferError("", name, "this side's dill does not know it; use the same dill on both sides")
    return maker(*args)


def type_name(kind: type) -> str | None:
    """Return the name that dill has for a type of the interpreter, None when it has none."""
    name: str | None = _dill()._typemap.get(kind)  # noqa: SLF001  # checked at import
    return name


def load_type(name: str) -> Any:
    """Return the type of the interpreter that dill has a name for; stands in a stream."""
    return _dill()._load_type(name)  # noqa: SLF001  # checked at import
