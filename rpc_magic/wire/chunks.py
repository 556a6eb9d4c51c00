"""Chunks: the parts into which large buffers are divided, each named by a digest of its content.

Chunks have a fixed size, on a grid that begins anew at each row of a buffer of two dimensions (a column of a pandas
block): a row appended to a table then changes the last chunk of each column and no other. Rows that are shorter
than a chunk have no grid of their own. Where the object whose memory a buffer is has `marks`, as many texts have (see
`rpc_magic.serial.texts`), the grid begins anew there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import xxhash

from rpc_magic.wire.frames import Buffer

__all__ = ["CHUNK", "CHUNKS_A_CHUNK", "DIGEST_SIZE", "LARGE", "Chunk", "digest_of", "flat", "spans"]

CHUNK = 1 << 18
"""Bytes of a chunk. Smaller ones cost more to name; larger ones send more again where a table has changed."""

LARGE = 1 << 20
"""Bytes from which a buffer travels in chunks: below, sending it costs less than naming it."""

CHUNKS_A_CHUNK = 2
"""Chunks that a buffer may have for each `CHUNK` bytes of it: a row of a grid ends with a short one."""

DIGEST_SIZE = 16

digest_of = xxhash.xxh3_128_digest
"""Digest of a chunk, for parties that trust each other: one session and its client. Not collision resistant."""


class Chunk(NamedTuple):
    """Where a chunk is in its buffer, and its name."""

    start: int
    size: int
    digest: bytes


def flat(buffer: Buffer) -> memoryview:
    """Return a buffer's bytes in one dimension."""
    view = memoryview(buffer)
    return view if view.ndim == 1 and view.format == "B" else view.cast("B")


def spans(buffer: Buffer) -> Iterator[tuple[int, int]]:
    """Return start and size of each chunk of a buffer, in order."""
    view = flat(buffer)
    begins = [*_begins_of(view), view.nbytes]
    for begin, end in pairwise(begins):
        for start in range(begin, end, CHUNK):
            yield start, min(CHUNK, end - start)


def _begins_of(view: memoryview) -> Iterable[int]:
    """Return where the grid begins, and begins anew."""
    marks: tuple[int, ...] = getattr(view.obj, "marks", ())
    if marks:
        return (0, *marks)
    return range(0, view.nbytes, _row_of(view) or 1)


def _row_of(view: memoryview) -> int:
    """Return the bytes of a row of the array whose whole memory this is; all of it, where it has no rows."""
    array: Any = view.obj
    if getattr(array, "ndim", 1) == 2 and getattr(array, "nbytes", 0) == view.nbytes:
        row = int(array.strides[0])
        if row >= CHUNK and view.nbytes % row == 0:
            return row
    return view.nbytes
