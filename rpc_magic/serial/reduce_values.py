"""How values travel that plain pickle handles badly or not at all: arrays, errors, locks, files, views."""

from __future__ import annotations

import copyreg
import io
import pickle
import sys
import types
import weakref
from typing import Any

from rpc_magic.serial import build, build_types
from rpc_magic.serial.encoding import Encoding

__all__ = [
    "ARRAY_BYTES_OUT_OF_BAND",
    "reduce_array",
    "reduce_exception",
    "reduce_file",
    "reduce_lock",
    "reduce_memoryview",
    "reduce_proxy",
    "reduce_rlock",
    "reduce_shell",
    "reduce_thread_handle",
    "reduce_vectorized",
    "reduce_weakref",
    "reduce_weakset",
    "refuse_capsule",
]

_OPEN_FILES = (io.TextIOWrapper, io.FileIO, io.BufferedReader, io.BufferedWriter, io.BufferedRandom)

ARRAY_BYTES_OUT_OF_BAND = 4096
"""Bytes from which on a buffer leaves by reference: below, a copy costs less than a separate buffer."""


def reduce_array(encoding: Encoding, array: Any) -> Any:
    """A numpy array: strided ones are compacted to leave out-of-band; subclasses keep their class."""
    numpy = sys.modules["numpy"]
    kind = type(array)
    if kind is numpy.ndarray:
        as_view = encoding.arrays.reduce(array)
        if as_view is not NotImplemented:
            return as_view
        is_contiguous = array.flags.c_contiguous or array.flags.f_contiguous
        if is_contiguous or array.dtype.hasobject or array.nbytes < ARRAY_BYTES_OUT_OF_BAND:
            return NotImplemented
        return array.copy("K").__reduce_ex__(5)
    plain = numpy.ndarray
    if kind.__reduce__ is not plain.__reduce__ or kind.__reduce_ex__ is not plain.__reduce_ex__:
        return NotImplemented  # it knows better
    base = plain.view(array, plain)
    if issubclass(kind, numpy.memmap):
        return reduce_memmap(base)
    return build_types.make_array, (kind, base, getattr(array, "__dict__", None) or None)


def reduce_vectorized(_encoding: Encoding, thing: Any) -> Any:
    """What ``numpy.vectorize`` made, without the ufunc that it keeps of its last call."""
    state = dict(vars(thing))
    if "_ufunc" in state:
        state["_ufunc"] = {}
    return copyreg.__newobj__, (type(thing),), state  # type: ignore[attr-defined]  # pickle's own


def reduce_memmap(base: Any) -> Any:
    """A file mapped into memory travels as a plain array of what it holds."""
    reduced = base.__reduce_ex__(5)
    return base.copy("K").__reduce_ex__(5) if isinstance(reduced, str) else reduced


def reduce_exception(_encoding: Encoding, error: BaseException) -> Any:
    """Made without its ``__init__``, then given arguments, attributes (notes are one), cause and context."""
    cls = type(error)
    own_state: Any = None
    if isinstance(error, (AttributeError, NameError)) and error.name is not None:
        own_state = {"name": error.name}
    if cls.__reduce__ is BaseException.__reduce__ and cls.__reduce_ex__ is BaseException.__reduce_ex__:
        made: tuple[Any, ...] = (build_types.make_exception, (cls, error.args))
    else:
        reduced = error.__reduce_ex__(5)
        if isinstance(reduced, str):
            return reduced
        made = (build_types.make_exception_by, (reduced[0], reduced[1]))
        if len(reduced) > 2 and reduced[2] is not None:
            own_state = reduced[2]
    state = (
        dict(error.__dict__),
        error.args,
        error.__cause__,
        error.__context__,
        error.__suppress_context__,
        own_state,
    )
    return *made, state, None, None, build_types.set_exception


def reduce_lock(_encoding: Encoding, _lock: object) -> Any:
    """A fresh lock that nobody holds."""
    return build.make_lock, ()


def reduce_rlock(_encoding: Encoding, _lock: object) -> Any:
    """A fresh reentrant lock that nobody holds."""
    return build.make_rlock, ()


def reduce_thread_handle(_encoding: Encoding, handle: Any) -> Any:
    """What a thread is joined by: one that has begun runs in its own process only, and is over elsewhere."""
    return build.make_thread_handle, (bool(handle.ident),)


def reduce_file(_encoding: Encoding, file: Any) -> Any:
    """The standard streams are the receiver's own; other open files cannot travel."""
    for name in ("stdin", "stdout", "stderr"):
        if file is getattr(sys, name, None) or file is getattr(sys, f"__{name}__", None):
            return build.standard_stream, (name,)
    if not isinstance(file, _OPEN_FILES):
        return NotImplemented  # in memory, or of a class with its own ways
    path = getattr(file, "name", None)
    raise pickle.PicklingError(f"the file {path!r} was opened in this process; send its path or its contents")


def refuse_capsule(_encoding: Encoding, _capsule: object) -> Any:
    """A capsule is a bare pointer."""
    raise pickle.PicklingError("it holds a pointer into this process's memory")


def reduce_shell(_encoding: Encoding, _shell: object) -> Any:
    """The notebook's shell is the receiver's own."""
    return build.shell, ()


def reduce_memoryview(_encoding: Encoding, view: memoryview) -> Any:
    """The bytes it shows, out-of-band where they lie together."""
    if view.format == "B" and view.ndim == 1 and view.contiguous:
        return memoryview, (pickle.PickleBuffer(view),)
    if view.c_contiguous:
        return build.make_view, (pickle.PickleBuffer(view.cast("B")), view.format, view.shape)
    return build.make_view, (view.tobytes(), view.format, view.shape)


class _Reveal(dict[Any, Any]):
    """Gives away the mapping behind a proxy: ``proxy | reveal`` asks the mapping's other operand first."""

    def __ror__(self, mapping: Any) -> Any:
        return mapping


def reduce_proxy(_encoding: Encoding, proxy: Any) -> Any:
    """A read-only view of a mapping, and the mapping."""
    return types.MappingProxyType, (proxy | _Reveal(),)


def reduce_weakref(_encoding: Encoding, reference: weakref.ref[Any]) -> Any:
    """A weak reference without its callback; a dead one stays dead."""
    target = reference()
    return build.make_weakref, () if target is None else (target,)


def reduce_weakset(_encoding: Encoding, members: weakref.WeakSet[Any]) -> Any:
    """A weak set of copies of its living members."""
    return weakref.WeakSet, (list(members),)
