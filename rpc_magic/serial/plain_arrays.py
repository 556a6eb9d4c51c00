"""Numpy arrays and scalars as plain data.

What an array's items are is told by words that numpy is never asked to interpret freely: a checked type
string without objects, or names, types, offsets and size of a structure.
"""

from __future__ import annotations

import math
import re
import sys
from importlib import import_module
from typing import Any

from rpc_magic.errors import ProtocolError, TransferError
from rpc_magic.serial.segments import Buffer

__all__ = [
    "is_array",
    "is_scalar",
    "pack_array",
    "pack_scalar",
    "unpack_array",
    "unpack_scalar",
]

_TYPE_STRING = re.compile(
    r"[<>|=]([biufcSUV][0-9]{1,9}|[mM]8(\[[0-9]{0,9}(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)"
)
_TYPE_DEPTH = 8
"""Structures within structures."""

_STRUCTURE, _SUBARRAY = 0, 1


def _is_from(kind: type, package: str, name: str) -> bool:
    loaded = sys.modules.get(package)
    return loaded is not None and kind is getattr(loaded, name, None)


def is_array(kind: type) -> bool:
    """Tell whether a type is numpy's array itself."""
    return _is_from(kind, "numpy", "ndarray")


def is_scalar(kind: type) -> bool:
    """Tell whether a type is one of numpy's scalars."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and kind.__module__ == "numpy" and issubclass(kind, numpy.generic)


def _need(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError as error:
        raise TransferError("", f"{package} value", f"{package} is not installed here") from error


def _pack_type(dtype: Any, path: str, depth: int = 0) -> Any:
    if depth > _TYPE_DEPTH:
        raise TransferError(path, "numpy.dtype", "its structure is nested too deeply")
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [_SUBARRAY, _pack_type(base, path, depth + 1), list(shape)]
    if dtype.names is not None:
        fields = [dtype.fields[name] for name in dtype.names]
        types = [_pack_type(field[0], path, depth + 1) for field in fields]
        titles = [field[2] if len(field) > 2 else None for field in fields]
        if not all(title is None or type(title) is str for title in titles):
            raise TransferError(path, f"numpy array of {dtype}", "the titles of its fields are not text")
        return [_STRUCTURE, list(dtype.names), types, [field[1] for field in fields], dtype.itemsize, titles]
    text: str = dtype.str
    if dtype.hasobject or dtype.itemsize == 0 or not _TYPE_STRING.fullmatch(text):
        raise TransferError(path, f"numpy array of {dtype}", "only arrays without objects travel here")
    return text


def _unpack_type(term: Any, depth: int = 0) -> Any:
    numpy = _need("numpy")
    if depth > _TYPE_DEPTH:
        raise ProtocolError("a numpy structure is nested too deeply")
    if isinstance(term, str):
        if not _TYPE_STRING.fullmatch(term):
            raise ProtocolError(f"unknown numpy type {term[:40]!r}")
        return numpy.dtype(term)
    if term[0] == _SUBARRAY:
        _, base, shape = term
        return numpy.dtype((_unpack_type(base, depth + 1), tuple(shape)))
    if term[0] != _STRUCTURE:
        raise ProtocolError("a numpy type is malformed")
    _, names, types, offsets, size, titles = term
    if not all(title is None or type(title) is str for title in titles):
        raise ProtocolError("a numpy structure is malformed")
    formats = [_unpack_type(item, depth + 1) for item in types]
    described = {"names": names, "formats": formats, "offsets": offsets, "itemsize": size}
    return numpy.dtype(described | {"titles": titles} if any(titles) else described)


def pack_array(array: Any, path: str) -> tuple[list[Any], Buffer]:
    """Return an array's description and its bytes, not copied where they lie together.

    Args:
        array: a numpy array.
        path: where it is, for the error.

    Raises:
        TransferError: it holds objects.
    """
    numpy = sys.modules["numpy"]
    described = _pack_type(array.dtype, path)
    is_fortran = bool(array.flags.f_contiguous and not array.flags.c_contiguous)
    dense = array.T if is_fortran else numpy.ascontiguousarray(array)
    flat = dense.reshape(-1).view(numpy.uint8) if array.size else b""
    return [described, list(array.shape), is_fortran], memoryview(flat)


def unpack_array(body: list[Any], buffer: Buffer) -> Any:
    """Make an array on a buffer.

    Args:
        body: the description from `pack_array`.
        buffer: its bytes.

    Raises:
        ProtocolError: the two do not fit each other.
    """
    numpy = _need("numpy")
    described, shape, is_fortran = body
    dtype = _unpack_type(described)
    if dtype.hasobject or dtype.itemsize == 0:
        raise ProtocolError("a numpy type is malformed")
    if len(shape) > 32 or any(type(n) is not int or n < 0 for n in shape):
        raise ProtocolError("a numpy shape is malformed")
    if math.prod(shape) * dtype.itemsize != memoryview(buffer).nbytes:
        raise ProtocolError("a numpy array and its bytes differ in size")
    return numpy.ndarray(tuple(shape), dtype, buffer, order="F" if is_fortran else "C")


def pack_scalar(scalar: Any, path: str) -> list[Any]:
    """Return a numpy scalar's type and bytes."""
    return [_pack_type(scalar.dtype, path), scalar.tobytes()]


def unpack_scalar(body: list[Any]) -> Any:
    """Make a numpy scalar."""
    described, data = body
    if type(data) is not bytes:
        raise ProtocolError("a numpy scalar is malformed")
    return unpack_array([described, [], False], bytearray(data))[()]
