"""One bytes object that holds an encoded object: `dumps` and `loads`.

Layout: a pickle that calls `load_body` with one bytes object, the body; so ``pickle.load`` reads it as well.
The body, little-endian: format version (u16), Python major and minor version (u8 each), number of buffers (u32),
their lengths (u64 each), then the buffers.
"""

from __future__ import annotations

import mmap
import pickle
import struct
import sys
from typing import Any

from rpc_magic.errors import ProtocolError, TransferError
from rpc_magic.serial.codec import decode, encode
from rpc_magic.serial.culprit import as_its_cause
from rpc_magic.serial.segments import Buffer

__all__ = ["dumps", "load_body", "loads"]

_CALL = (
    pickle.PROTO + b"\x05" + pickle.GLOBAL + b"rpc_magic.serial.standalone\nload_body\n" + pickle.BINBYTES8
)
_SIZE = struct.Struct("<Q")
_END = pickle.TUPLE1 + pickle.REDUCE + pickle.STOP

_VERSION = 1
_HEAD = struct.Struct("<HBBI")

_MAPPED = 1 << 18
"""Bytes from which on a buffer gets pages of its own, which are aligned."""


def dumps(obj: object) -> bytes:
    """Turn an object into bytes that `loads` understands in any process with the same Python minor version.

    ``pickle.loads`` understands them too, where rpc_magic is installed; it copies them once more.

    Args:
        obj: nearly anything; functions and classes that cannot be imported travel by value.

    Raises:
        TransferError: something in it cannot travel; the error names its path. It is a
            ``pickle.PicklingError`` as well, and what pickling ran into is its cause, whose builtin class (such as
            ValueError) catches it too.
    """
    try:
        buffers = encode(obj, is_copy=True)
    except TransferError as error:
        raise as_its_cause(error) from error.__cause__
    sizes = [memoryview(buffer).nbytes for buffer in buffers]
    head = _HEAD.pack(_VERSION, *sys.version_info[:2], len(buffers))
    lengths = struct.pack(f"<{len(sizes)}Q", *sizes)
    size = _SIZE.pack(len(head) + len(lengths) + sum(sizes))
    return b"".join((_CALL, size, head, lengths, *buffers, _END))


def loads(data: Buffer) -> Any:
    """Make the object that `dumps` turned into bytes; its arrays are copies and writable.

    Functions that travelled by value get globals of their own, in one call of `dumps` the same; classes that
    come home are the ones they were. This runs code that the data name: only for data of somebody who may run
    code here.

    Args:
        data: what `dumps` returned.

    Raises:
        ProtocolError: it is something else, or cut short.
        TransferError: it holds code of another Python version.
    """
    view = memoryview(data).cast("B")
    start = len(_CALL) + _SIZE.size
    if view[: len(_CALL)] != _CALL:
        raise ProtocolError("these bytes were not made by dumps")
    if len(view) < start or len(view) != start + _SIZE.unpack_from(view, len(_CALL))[0] + len(_END):
        raise ProtocolError("these bytes are cut short")
    return load_body(view[start : -len(_END)])


def load_body(body: Buffer) -> Any:
    """Make the object that a body holds; stands in a stream.

    Args:
        body: as the module's text says.

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
    for size in struct.unpack_from(f"<{count}Q", view, _HEAD.size):
        start, end = end, end + size
        if end > len(view):
            raise ProtocolError("these bytes are cut short")
        part = view[start:end]
        buffers.append(_writable(part) if buffers else part)
    return decode(buffers)


def _writable(part: memoryview) -> Buffer:
    if len(part) < _MAPPED:
        return bytearray(part)
    pages = memoryview(mmap.mmap(-1, len(part)))
    pages[:] = part
    return pages
