"""One bytes object that holds an encoded object: `dumps` and `loads`.

Layout: a pickle that calls `load_body` with one bytes object, the body, and the buffers that are out of band; so
``pickle.load`` reads it as well. The body, little-endian: format version (u16), Python major and minor version (u8
each), number of buffers (u32), their lengths (u64 each, the greatest for one out of band), then the other buffers.
"""

from __future__ import annotations

import pickle
import struct
import sys
from collections.abc import Callable, Iterable
from typing import Any

from rpc_magic.errors import ProtocolError, TransferError
from rpc_magic.memory import allocate
from rpc_magic.serial.codec import decode, encode, stream_length
from rpc_magic.serial.culprit import as_its_cause
from rpc_magic.serial.reduce_values import ARRAY_BYTES_OUT_OF_BAND
from rpc_magic.serial.segments import Buffer

__all__ = ["dumps", "load_body", "loads"]

_CALL = (
    pickle.PROTO
    + b"\x05"
    + pickle.GLOBAL
    + b"rpc_magic.serial.standalone\nload_body\n"
    + pickle.MARK
    + pickle.BINBYTES8
)
_SIZE = struct.Struct("<Q")
_END = pickle.TUPLE + pickle.REDUCE + pickle.STOP
_OUTSIDE = (1 << 64) - 1

_VERSION = 1
_HEAD = struct.Struct("<HBBI")


def dumps(obj: object, *, buffer_callback: Callable[[pickle.PickleBuffer], object] | None = None) -> bytes:
    """Turn an object into bytes that `loads` understands in any process with the same Python minor version.

    ``pickle.loads`` understands them too, where rpc_magic is installed; it copies them once more.

    Args:
        obj: nearly anything; functions and classes that cannot be imported travel by value.
        buffer_callback: as that of ``pickle.dumps``: is given the memory of each array, as it lies in `obj`, and
            keeps it out of the bytes by returning nothing true. None keeps nothing out.

    Raises:
        TransferError: something in it cannot travel; the error names its path. It is a
            ``pickle.PicklingError`` as well, and what pickling ran into is its cause, whose builtin class (such as
            ValueError) catches it too.
    """
    smallest = ARRAY_BYTES_OUT_OF_BAND if buffer_callback is None else 0
    try:
        buffers = encode(obj, is_copy=True, smallest=smallest)
    except TransferError as error:
        raise as_its_cause(error) from error.__cause__
    inside, sizes, start = [], [], stream_length(buffers)
    for place, buffer in enumerate(buffers):
        is_inside = place < start or buffer_callback is None or buffer_callback(pickle.PickleBuffer(buffer))
        if is_inside:
            inside.append(buffer)
        sizes.append(memoryview(buffer).nbytes if is_inside else _OUTSIDE)
    head = _HEAD.pack(_VERSION, *sys.version_info[:2], len(buffers))
    lengths = struct.pack(f"<{len(sizes)}Q", *sizes)
    size = _SIZE.pack(len(head) + len(lengths) + sum(size for size in sizes if size != _OUTSIDE))
    outside = pickle.NEXT_BUFFER * (len(buffers) - len(inside))
    return b"".join((_CALL, size, head, lengths, *inside, outside, _END))


def loads(data: Buffer, *, buffers: Iterable[Buffer | pickle.PickleBuffer] = ()) -> Any:
    """Make the object that `dumps` turned into bytes; its arrays are copies and writable.

    Functions that travelled by value get globals of their own, in one call of `dumps` the same; classes that
    come home are the ones they were. This runs code that the data name: only for data of somebody who may run
    code here.

    Args:
        data: what `dumps` returned.
        buffers: what its `buffer_callback` has kept out, in order; arrays are built on them.

    Raises:
        ProtocolError: it is something else, or cut short; or there are too few buffers.
        TransferError: it holds code of another Python version.
    """
    view = memoryview(data).cast("B")
    start = len(_CALL) + _SIZE.size
    if view[: len(_CALL)] != _CALL:
        raise ProtocolError("these bytes were not made by dumps")
    if len(view) < start:
        raise ProtocolError("these bytes are cut short")
    end = start + _SIZE.unpack_from(view, len(_CALL))[0]
    if view[end:] != pickle.NEXT_BUFFER * (len(view) - end - len(_END)) + _END:
        raise ProtocolError("these bytes are cut short")
    return load_body(view[start:end], *buffers)


def load_body(body: Buffer, *outside: Buffer | pickle.PickleBuffer) -> Any:
    """Make the object that a body holds; stands in a stream.

    Args:
        body: as the module's text says.
        outside: the buffers that are out of band.

    Raises:
        ProtocolError: it is cut short, or of another format.
        TransferError: it holds code of another Python version.
    """
    view = memoryview(body)
    if len(view) < _HEAD.size:
        raise ProtocolError("these bytes are cut short")
    version, _major, _minor, count = _HEAD.unpack_from(view)
    if version != _VERSION:
        raise ProtocolError(f"these bytes have format {version}, this version of rpc_magic reads {_VERSION}")
    end = _HEAD.size + 8 * count
    if end > len(view):
        raise ProtocolError("these bytes are cut short")
    buffers: list[Buffer] = []
    others = iter(outside)
    for size in struct.unpack_from(f"<{count}Q", view, _HEAD.size):
        if size == _OUTSIDE:
            other = next(others, None)
            if other is None:
                raise ProtocolError("buffers that were kept out of these bytes are missing")
            buffers.append(memoryview(other))
            continue
        start, end = end, end + size
        if end > len(view):
            raise ProtocolError("these bytes are cut short")
        is_array = buffers and len(buffers) >= stream_length(buffers)
        buffers.append(_writable(view[start:end]) if is_array else view[start:end])
    return decode(buffers)


def _writable(part: memoryview) -> memoryview:
    copy = allocate(len(part))
    copy[:] = part
    return copy
