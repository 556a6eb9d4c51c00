"""Exceptions that do not even tell what they are: their class's `__getattribute__` or `__class__` fails, or never ends.

Whatever looks at such a one, ours or IPython's, would fail or wait with it. Another one takes its place, which has its
name, arguments and frames: these can be had without asking it. It travels as text alone.
"""

from __future__ import annotations

import threading
from typing import Any

from rpc_magic.worker.patience import OutOfPatienceError, at_most

__all__ = ["StandIn", "answering"]

_PATIENCE = 2.0
"""Seconds for an exception to tell what it is."""
_BASES = (KeyboardInterrupt, SystemExit, GeneratorExit, StopIteration, StopAsyncIteration)
_RAW: dict[str, Any] = BaseException.__dict__  # type: ignore[assignment]  # what no class of the user's replaces
_LINKS = (_RAW["__cause__"], _RAW["__context__"])


class StandIn:
    """What exceptions are that stand for others."""


def answering(error: BaseException) -> BaseException:
    """Return an exception that answers, as all do that it came from: itself, if it is well."""
    first = _answering(error)
    waiting, seen = [first], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        for link in _LINKS:
            other = link.__get__(one)
            if other is not None:
                well = _answering(other)
                if well is not other:
                    link.__set__(one, well)
                waiting.append(well)
    return first


def _answering(error: BaseException) -> BaseException:
    kind = type(error)
    is_plain = kind.__getattribute__ is BaseException.__getattribute__ and not any(
        "__class__" in vars(base) for base in kind.__mro__[:-1]
    )
    return error if is_plain or _answers(error) else _stand_in(error)


def _answers(error: BaseException) -> bool:
    """Ask an exception; it may be of any mind."""
    if threading.current_thread() is not threading.main_thread():
        return False  # nobody could end the question
    try:
        with at_most(_PATIENCE):
            return isinstance(error.__class__, type) and not isinstance(error.__traceback__, str)
    except (OutOfPatienceError, Exception, SystemExit, GeneratorExit, KeyboardInterrupt):  # noqa: BLE001 - the user's
        return False


def _stand_in(error: BaseException) -> BaseException:
    kind = type(error)
    base = next((base for base in _BASES if issubclass(kind, base)), Exception)
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    other: BaseException = type(kind.__name__, (StandIn, base), names)(*_RAW["args"].__get__(error))
    for name in ("__traceback__", "__cause__", "__context__", "__suppress_context__"):
        field = BaseException.__dict__[name]
        field.__set__(other, field.__get__(error))
    return other
