"""Gives objects of some types made in C the state of another: what `rpc_magic.notebook.inplace` asks for these."""

from __future__ import annotations

import array
import functools
import io
import random
import types
from typing import Any

__all__ = ["has_known_state", "update_state"]

_KNOWN = (
    *(array.array, functools.partial, io.BytesIO, io.StringIO),
    *(types.SimpleNamespace, BaseException, random.Random),
)


def has_known_state(value: object) -> bool:
    """Tell whether `update_state` knows how objects of this type are changed."""
    return isinstance(value, _KNOWN) or type(value).__module__.startswith("numpy.random") or _is_tensor(value)


def _is_tensor(value: object) -> bool:
    kind = type(value)
    return kind.__name__ in {"Tensor", "Parameter"} and kind.__module__.partition(".")[0] == "torch"


def update_state(old: Any, new: Any) -> bool:
    """Give `old` the state of `new`, an object of the same type, but for its attributes.

    Arrays of Python's own, partial functions, texts and bytes in memory, exceptions and generators of random numbers,
    Python's and numpy's, and tensors of torch of the same shape can be changed so.

    Returns:
        Whether it was done; False leaves `old` as it was.
    """
    if isinstance(old, array.array):
        if old.typecode != new.typecode:
            return False
        old[:] = new
    elif isinstance(old, functools.partial):
        state = (new.func, new.args, new.keywords, dict(new.__dict__))
        old.__setstate__(state)  # type: ignore[attr-defined]  # all have it
    elif isinstance(old, (io.StringIO, io.BytesIO)):
        if old.closed or new.closed:
            return False
        old.__setstate__(new.__getstate__())  # type: ignore[union-attr]  # both have it
    elif isinstance(old, BaseException):
        old.args, old.__cause__, old.__traceback__ = new.args, new.__cause__, new.__traceback__
    elif _is_tensor(old):
        return _update_tensor(old, new)
    elif isinstance(old, random.Random):
        if not isinstance(old, random.SystemRandom):  # the system's has no state
            old.setstate(new.getstate())
    elif not isinstance(old, types.SimpleNamespace):
        return _update_generator(old, new)
    return True


def _update_tensor(old: Any, new: Any) -> bool:
    if (old.shape, old.dtype, old.device) != (new.shape, new.dtype, new.device):
        return False
    old.detach().copy_(new.detach())
    if old.is_leaf:
        old.grad = new.grad
    return True


def _update_generator(old: Any, new: Any) -> bool:
    if type(old) is not type(new):
        return False
    if hasattr(old, "bit_generator"):
        return _update_generator(old.bit_generator, new.bit_generator)
    if hasattr(old, "state"):
        old.state = new.state
        return True
    if hasattr(old, "set_state"):
        old.set_state(new.get_state(legacy=False))
        return True
    return False
