"""Objects to buffers and back.

A list of buffers is either a pickle stream followed by its out-of-band buffers (the first byte is then
pickle's 0x80), or a head that says how many of the buffers after it are segments of the stream. Buffers may
be parts of living objects: they are to be sent, hashed or copied before user code runs again.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Sequence
from typing import Any

from rpc_magic.errors import ProtocolError
from rpc_magic.serial.context import Decoding, Resolve
from rpc_magic.serial.culprit import transfer_error
from rpc_magic.serial.encoding import CodeMode, Encoding, TakesOver, by_origin
from rpc_magic.serial.pickler import PROTOCOL, Pickler
from rpc_magic.serial.reduce_values import ARRAY_BYTES_OUT_OF_BAND
from rpc_magic.serial.segments import Buffer, SegmentReader, SegmentSink, join_small

__all__ = ["decode", "encode", "stream_length"]

_HEAD = struct.Struct("<BBHI")
_HEAD_MARK = 0x52
_FORMAT = 1
_PICKLE_MARK = 0x80

_NUMBERS = frozenset({int, float, bool, complex, type(None)})
_TEXTS = frozenset({str, bytes})
_FEW = 8
_SHORT = 1024


def _is_trivial(thing: Any) -> bool:
    """Tell whether an object is a number, a short text or a few of them, to a depth of two."""
    kind = type(thing)
    if kind in _NUMBERS:
        return True
    if kind in _TEXTS:
        return len(thing) < _SHORT
    return (kind is tuple or kind is list) and len(thing) <= _FEW and _are_trivial(thing, 1)


def _are_trivial(things: Any, depth: int) -> bool:
    for item in things:
        kind = type(item)
        if kind in _NUMBERS:
            continue
        if kind in _TEXTS:
            if len(item) >= _SHORT:
                return False
        elif kind is dict:
            if item and not (
                depth and len(item) <= _FEW and _are_trivial(item, 0) and _are_trivial(item.values(), 0)
            ):
                return False
        elif (kind is not tuple and kind is not list) or (
            item and not (depth and len(item) <= _FEW and _are_trivial(item, 0))
        ):
            return False
    return True


def encode(
    obj: object,
    *,
    namespace: dict[str, Any] | None = None,
    carry: bool = True,
    name: str = "",
    code: CodeMode = "bytecode",
    takes_over: TakesOver = by_origin,
    is_copy: bool = False,
    modules: set[str] | None = None,
    smallest: int = ARRAY_BYTES_OUT_OF_BAND,
) -> list[Buffer]:
    """Turn an object into buffers.

    Args:
        obj: nearly anything; functions and classes that the other side cannot import travel by value.
        namespace: the user's global namespace; functions that have it as their globals will have the
            receiver's there.
        carry: whether such functions take along the values of the globals that they refer to.
        name: the variable's name, the root of the path that an error tells.
        code: "source" when the other side runs another Python minor version.
        takes_over: tells of a class whether the other side, where it has the class, takes over its attributes.
        is_copy: functions get globals of their own wherever they are decoded, also in this process.
        modules: takes up the names of the modules that the object refers to.
        smallest: bytes from which on the memory of an array is a buffer of its own.

    Returns:
        Buffers for `decode`. They may alias the memory of `obj`.

    Raises:
        TransferError: something in it cannot travel; the error names its path.
    """
    if _is_trivial(obj):
        return [pickle.dumps(obj, PROTOCOL)]
    sink = SegmentSink()
    out_of_band: list[Buffer] = []

    def keep_in_band(buffer: pickle.PickleBuffer) -> bool:
        try:
            raw = buffer.raw()
        except BufferError:  # not contiguous
            return True
        if raw.nbytes < smallest:
            return True
        out_of_band.append(raw)
        return False

    encoding = Encoding(namespace, carry, code, takes_over, is_copy)
    try:
        pickler = Pickler(sink, keep_in_band, encoding)  # keeps what it has met alive
        pickler.dump(obj)
        wholes = encoding.arrays.find_wholes()
        if wholes:
            sink, encoding = SegmentSink(), Encoding(namespace, carry, code, takes_over, is_copy)
            encoding.arrays.wholes = wholes
            out_of_band.clear()
            Pickler(sink, keep_in_band, encoding).dump(obj)
    except (KeyboardInterrupt, MemoryError):
        raise
    except BaseException as error:
        raise transfer_error(obj, Encoding(namespace, carry, code), name, error) from error
    if modules is not None:
        modules |= encoding.modules
    segments = join_small(sink.segments)
    if len(segments) == 1:
        return [segments[0], *out_of_band]
    return [_HEAD.pack(_HEAD_MARK, _FORMAT, 0, len(segments)), *segments, *out_of_band]


def stream_length(buffers: Sequence[Buffer]) -> int:
    """Return how many of the buffers come before those that are memory of arrays; the first one tells.

    Raises:
        ProtocolError: these are no buffers of `encode`.
    """
    if not buffers or not len(buffers[0]):
        raise ProtocolError("an encoded object has at least one buffer")
    head = buffers[0]
    if memoryview(head)[0] == _PICKLE_MARK:
        return 1
    if len(head) != _HEAD.size:
        raise ProtocolError("an encoded object starts with a head that is none")
    mark, version, _, count = _HEAD.unpack(head)
    if mark != _HEAD_MARK or version != _FORMAT or not count:
        raise ProtocolError(f"an encoded object has an unknown head {bytes(head).hex()}")
    return 1 + int(count)


def decode(
    buffers: Sequence[Buffer],
    *,
    namespace: dict[str, Any] | None = None,
    resolve: Resolve | None = None,
) -> Any:
    """Make the object that `encode` turned into buffers.

    This runs code that the buffers name: only for buffers of somebody who may run code here.

    Args:
        buffers: what `encode` returned. Arrays are built on them, writable where the buffer is.
        namespace: the receiver's global namespace; carried globals are set into it (not when decoding fails).
        resolve: answers `rpc_magic.serial.reference`: gives the value for a session and a key.

    Raises:
        ProtocolError: these are no buffers of `encode`.
        TransferError: code in them belongs to another Python version.
        Exception: what a constructor named in them raises, as ModuleNotFoundError.
    """
    start = stream_length(buffers)
    if start > len(buffers):
        raise ProtocolError("an encoded object has more buffers than there are")
    with Decoding(namespace, resolve):
        if start == 1:
            return pickle.loads(buffers[0], buffers=buffers[1:])
        return pickle.Unpickler(SegmentReader(buffers[1:start]), buffers=buffers[start:]).load()
