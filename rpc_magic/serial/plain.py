"""Data without code: a codec with no pickle in it, safe on bytes from anyone.

The first buffer is msgpack. None, bool, float, str, and int and bytes of ordinary size stand for themselves;
everything else is an array that starts with one of the tags below. Large bytes and arrays are the buffers
after the first, in the order in which they appear, each used once (so a small message cannot grow into a
large one).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import msgspec

from rpc_magic.errors import LimitError, ProtocolError, TransferError
from rpc_magic.serial import plain_arrays as arrays
from rpc_magic.serial import plain_tables as tables
from rpc_magic.serial import plain_time as times
from rpc_magic.serial.culprit import type_name
from rpc_magic.serial.segments import Buffer

__all__ = ["MAX_DEPTH", "decode_plain", "encode_plain"]

MAX_DEPTH = 200
"""Levels of nesting; the functions here are recursive, and Python's stack ends near 1000 calls."""

_LARGE = 1 << 14
"""Bytes from which on bytes leave as a buffer of their own."""

_SAME = frozenset({type(None), bool, float})
"""Types that msgpack keeps as they are."""

_INT_LOW, _INT_HIGH = -(1 << 63), 1 << 64

(
    _LIST,
    _TUPLE,
    _DICT,
    _SET,
    _FROZENSET,
    _INT,
    _COMPLEX,
    _BYTES,
    _BYTEARRAY,
    _TEXT,
    _TIME,
    _ARRAY,
    _SCALAR,
    _TABLE,
    _ITEMS,
) = range(15)

_SEQUENCES: dict[type, int] = {tuple: _TUPLE, set: _SET, frozenset: _FROZENSET}
_MAKERS: dict[int, Any] = {_TUPLE: tuple, _SET: set, _FROZENSET: frozenset}


class _Writer:
    """Turns one object into msgpack's terms, and collects buffers."""

    def __init__(self) -> None:
        self.buffers: list[Buffer] = []

    def pack(self, thing: Any, path: str, depth: int) -> Any:
        kind = type(thing)
        if kind in _SAME:
            return thing
        if kind is str:
            return thing if thing.isascii() else _text(thing)
        if kind is int:
            return thing if _INT_LOW <= thing < _INT_HIGH else [_INT, _bytes_of(thing)]
        if depth > MAX_DEPTH:
            raise TransferError(path, type_name(thing), f"it is nested deeper than {MAX_DEPTH} levels")
        if kind is list:
            return [_LIST, self._items(thing, path, depth)]
        if kind is dict:
            return self._mapping(thing, path, depth)
        if kind in _SEQUENCES:
            return [_SEQUENCES[kind], self._items(thing, path, depth)]
        if kind is bytes or kind is bytearray:
            return self._bytes(thing)
        if kind is complex:
            return [_COMPLEX, thing.real, thing.imag]
        return self._other(thing, path)

    def _items(self, things: Any, path: str, depth: int) -> list[Any]:
        if set(map(type, things)) <= _SAME:
            return list(things)
        ordered = isinstance(things, (list, tuple))
        return [
            self.pack(item, f"{path}[{index}]" if ordered else f"{path}{{...}}", depth + 1)
            for index, item in enumerate(things)
        ]

    def _mapping(self, thing: dict[Any, Any], path: str, depth: int) -> list[Any]:
        flat: list[Any] = []
        for key, value in thing.items():
            flat.append(self.pack(key, f"{path}[a key]", depth + 1))
            flat.append(self.pack(value, f"{path}[{key!r:.40}]", depth + 1))
        return [_DICT, flat]

    def _bytes(self, thing: bytes | bytearray) -> Any:
        if len(thing) >= _LARGE:
            self.buffers.append(thing)
            return [_BYTEARRAY if type(thing) is bytearray else _BYTES]
        return bytes(thing) if type(thing) is bytes else [_BYTEARRAY, bytes(thing)]

    def _other(self, thing: Any, path: str) -> list[Any]:
        kind = type(thing)
        if kind in times.TYPES:
            return [_TIME, *times.pack(thing, path)]
        if arrays.is_array(kind):
            description, buffer = arrays.pack_array(thing, path)
            self.buffers.append(buffer)
            return [_ARRAY, *description]
        if arrays.is_scalar(kind):
            return [_SCALAR, *arrays.pack_scalar(thing, path)]
        if tables.is_table(kind):
            self.buffers.append(tables.pack_table(thing, path))
            return [_TABLE]
        raise TransferError(path, type_name(thing), "only plain data, arrays and tables travel here")


def _bytes_of(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)


def _text(text: str) -> Any:
    try:
        text.encode()
    except UnicodeEncodeError:  # lone surrogates, as in names of files
        return [_TEXT, text.encode("utf-8", "surrogatepass")]
    return text


def encode_plain(obj: object, *, name: str = "") -> list[Buffer]:
    """Turn plain data into buffers, without pickle.

    Args:
        obj: None, bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset, dates
            and times, numpy arrays and scalars without objects, pyarrow tables. Exact types only.
        name: the variable's name, the root of the path that an error tells.

    Returns:
        Buffers for `decode_plain`; they may alias the memory of `obj`.

    Raises:
        TransferError: there is something else in it, or it is nested too deeply.
    """
    writer = _Writer()
    packed = writer.pack(obj, name, 0)
    return [msgspec.msgpack.encode(packed), *writer.buffers]


class _Reader:
    """Turns msgpack's terms back into an object."""

    def __init__(self, buffers: Sequence[Buffer]) -> None:
        self._waiting = list(reversed(buffers))

    def _buffer(self) -> Buffer:
        if not self._waiting:
            raise ProtocolError("plain data name more buffers than there are")
        return self._waiting.pop()

    def finish(self) -> None:
        if self._waiting:
            raise ProtocolError("plain data came with buffers that they do not name")

    def unpack(self, term: Any, depth: int) -> Any:
        kind = type(term)
        if kind is not list:
            if kind is dict or kind is msgspec.msgpack.Ext or kind is dt.datetime:
                raise ProtocolError(f"plain data hold a msgpack {kind.__name__}")
            return term
        if depth > MAX_DEPTH:
            raise LimitError("the nesting of plain data", depth, MAX_DEPTH, "levels")
        if not term or type(term[0]) is not int:
            raise ProtocolError("plain data hold an array without a tag")
        tag, body = term[0], term[1:]
        if tag in (_LIST, _TUPLE, _SET, _FROZENSET, _DICT):
            return self._container(tag, _one(body, list), depth)
        return self._leaf(tag, body)

    def _container(self, tag: int, items: list[Any], depth: int) -> Any:
        if not set(map(type, items)) <= _SAME:
            items = [self.unpack(item, depth + 1) for item in items]
        if tag == _LIST:
            return items
        if tag == _DICT:
            if len(items) % 2:
                raise ProtocolError("plain data hold a dict with a key that has no value")
            return dict(zip(items[::2], items[1::2], strict=True))
        return _MAKERS[tag](items)

    def _leaf(self, tag: int, body: list[Any]) -> Any:
        if tag in (_ARRAY, _SCALAR, _TABLE):
            return self._numeric(tag, body)
        if tag == _INT:
            return int.from_bytes(_one(body, bytes), "little", signed=True)
        if tag == _COMPLEX:
            real, imaginary = body
            if type(real) is not float or type(imaginary) is not float:
                raise ProtocolError("plain data hold a complex number that is none")
            return complex(real, imaginary)
        if tag == _BYTES:
            return bytes(_one(body, bytes) if body else self._buffer())
        if tag == _BYTEARRAY:
            return bytearray(_one(body, bytes) if body else self._buffer())
        if tag == _TEXT:
            return _one(body, bytes).decode("utf-8", "surrogatepass")
        if tag == _TIME:
            return times.unpack(body)
        raise ProtocolError(f"plain data hold an unknown tag {tag}")

    def _numeric(self, tag: int, body: list[Any]) -> Any:
        if tag == _ARRAY:
            return arrays.unpack_array(body, self._buffer())
        if tag == _SCALAR:
            return arrays.unpack_scalar(body)
        return tables.unpack_table(self._buffer())


def _one(body: list[Any], kind: type) -> Any:
    if len(body) != 1 or type(body[0]) is not kind:
        raise ProtocolError("plain data hold a malformed item")
    return body[0]


def decode_plain(buffers: Sequence[Buffer]) -> Any:
    """Make the data that `encode_plain` turned into buffers; safe on bytes from anyone.

    Args:
        buffers: what `encode_plain` returned. Arrays are built on them, writable where the buffer is.

    Raises:
        ProtocolError: these are no buffers of `encode_plain`.
        LimitError: they are nested deeper than `MAX_DEPTH`.
        TransferError: a package that is needed, numpy or pyarrow, is not installed here.
    """
    if not buffers:
        raise ProtocolError("plain data have at least one buffer")
    try:
        term = msgspec.msgpack.decode(buffers[0])
        reader = _Reader(buffers[1:])
        made = reader.unpack(term, 0)
        reader.finish()
    except (ProtocolError, LimitError, TransferError, MemoryError):
        raise
    except Exception as error:
        raise ProtocolError(f"plain data are malformed: {type(error).__name__}: {error}") from error
    return made
