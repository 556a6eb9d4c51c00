"""The memory that a payload is received or copied into, and stays in.

A large buffer gets pages of its own: aligned, writable, given back to the system when the last array on it
goes, and never copied. All of it is private to the process: what a forked child writes there is the child's.
"""

from __future__ import annotations

import contextlib
import mmap

__all__ = ["OWN_PAGES", "allocate"]

OWN_PAGES = 1 << 20
"""Bytes from which a buffer gets pages of its own; below that, malloc is faster than the kernel."""

_PRIVATE: dict[str, int] = (
    {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
)


def allocate(size: int) -> memoryview:
    """Return `size` writable bytes, aligned to at least 16 bytes and, from `OWN_PAGES` on, to a page.

    Raises:
        MemoryError: there is not that much.
    """
    if size < OWN_PAGES:
        return memoryview(bytearray(size))
    try:
        pages = mmap.mmap(-1, size, **_PRIVATE)
    except OSError as error:
        raise MemoryError(f"no memory for a buffer of {size:,} bytes") from error
    if hasattr(mmap, "MADV_HUGEPAGE"):
        # An eighth of the page faults: receiving is then as fast as copying. A kernel built without refuses.
        with contextlib.suppress(OSError):
            pages.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(pages)
