"""One bytes object that holds an encoded object: `dumps` and `loads`.

Layout, little-endian: magic (8 bytes), format version (u16), Python major and minor version (u8 each), number
of buffers (u32), their lengths (u64 each), then the buffers, each at a multiple of 64 bytes.
"""

from __future__ import annotations

import mmap
import struct
import sys
from typing import Any

from rpc_magic.errors import ProtocolError
from rpc_magic.serial.codec import decode, encode
from rpc_magic.serial.segments import Buffer

__all__ = ["dumps", "loads"]

_MAGIC = b"rpcmagic"
_VERSION = 1
_HEAD = struct.Struct("<8sHBBI")
_ALIGNMENT = 64
"""Bytes; a cache line, and what vector instructions and Arrow like."""

_MAPPED = 1 << 18
"""Bytes from which on a buffer gets pages of its own, which are aligned."""


def _aligned(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT


def dumps(obj: object) -> bytes:
    """Turn an object into bytes that `loads` understands in any process with the same Python minor version.

    Args:
        obj: nearly anything; functions and classes that cannot be imported travel by value.

    Raises:
        TransferError: something in it cannot travel; the error names its path.
    """
    buffers = encode(obj)
    sizes = [memoryview(buffer).nbytes for buffer in buffers]
    head = _HEAD.pack(_MAGIC, _VERSION, *sys.version_info[:2], len(buffers))
    parts: list[Buffer] = [head, struct.pack(f"<{len(sizes)}Q", *sizes)]
    position = len(head) + 8 * len(sizes)
    for buffer, size in zip(buffers, sizes, strict=True):
        start = _aligned(position)
        parts += [bytes(start - position), buffer]
        position = start + size
    return b"".join(parts)


def loads(data: Buffer) -> Any:
    """Make the object that `dumps` turned into bytes; its arrays are copies and writable.

    This runs code that the data name: only for data of somebody who may run code here.

    Args:
        data: what `dumps` returned.

    Raises:
        ProtocolError: it is something else, or cut short.
        TransferError: it holds code of another Python version.
    """
    view = memoryview(data).cast("B")
    if len(view) < _HEAD.size:
        raise ProtocolError("these bytes were not made by dumps: they are too short")
    magic, version, _major, _minor, count = _HEAD.unpack_from(view)
    if magic != _MAGIC:
        raise ProtocolError("these bytes were not made by dumps")
    if version != _VERSION:
        raise ProtocolError(f"these bytes have format {version}, this version of rpc_magic reads {_VERSION}")
    position = _HEAD.size + 8 * count
    if position > len(view):
        raise ProtocolError("these bytes are cut short")
    buffers: list[Buffer] = []
    for size in struct.unpack_from(f"<{count}Q", view, _HEAD.size):
        start = _aligned(position)
        position = start + size
        if position > len(view):
            raise ProtocolError("these bytes are cut short")
        part = view[start:position]
        buffers.append(_writable(part) if buffers else part)
    return decode(buffers)


def _writable(part: memoryview) -> Buffer:
    if len(part) < _MAPPED:
        return bytearray(part)
    pages = memoryview(mmap.mmap(-1, len(part)))
    pages[:] = part
    return pages
