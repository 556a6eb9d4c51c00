"""Compression of chunks, for links that are slower than the machine: Zstandard (RFC 8878), level 1."""

from __future__ import annotations

from rpc_magic.errors import ProtocolError
from rpc_magic.wire.frames import Buffer

__all__ = ["pack", "pays", "unpack_into"]

_LEVEL = 1
"""Some hundred megabytes a second on one processor; higher levels gain little on arrays."""

_WORTH = 0.8
"""Compressing pays when a sample shrinks to this part of its size."""


def pack(chunk: memoryview) -> bytes:
    """Return a chunk compressed."""
    import zstandard  # most connections never need it

    return zstandard.ZstdCompressor(_LEVEL).compress(chunk)


def pays(sample: memoryview) -> bool:
    """Tell from a sample of the data whether compressing it pays."""
    return len(pack(sample)) <= _WORTH * len(sample)


def unpack_into(target: memoryview, packed: Buffer) -> None:
    """Put a chunk that was compressed where it belongs.

    Raises:
        ProtocolError: it is none, or has not the size of its place; no memory is taken for more.
    """
    import zstandard

    try:
        if zstandard.frame_content_size(packed) != len(target):
            raise ProtocolError("a compressed chunk has not the size that was told")
        target[:] = zstandard.ZstdDecompressor().decompress(packed, max_output_size=len(target))
    except (zstandard.ZstdError, ValueError) as error:
        raise ProtocolError(f"a compressed chunk cannot be read: {error}") from error
