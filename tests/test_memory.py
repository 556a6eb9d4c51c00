"""The memory of payloads."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

import pytest

from rpc_magic import memory
from rpc_magic.memory import OWN_PAGES, allocate

SIZES = [
    0,
    1,
    15,
    16,
    511,
    512,
    513,
    4096,
    65_537,
    OWN_PAGES - 1,
    OWN_PAGES,
    OWN_PAGES + 1,
    5 * OWN_PAGES + 3,
]


def address(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view))


@pytest.mark.parametrize("size", SIZES)
def test_size_zeros_and_writable(size: int) -> None:
    """A buffer has the size asked for, in bytes, and every byte can be written."""
    view = allocate(size)
    assert (len(view), view.nbytes, view.format, view.readonly) == (size, size, "B", False)
    view[:] = b"\xa5" * size
    assert bytes(view) == b"\xa5" * size


@pytest.mark.parametrize("size", [size for size in SIZES if size])
def test_aligned(size: int) -> None:
    """Every buffer is aligned for any numpy type, a large one to a page."""
    views = [allocate(size) for _ in range(5)]
    for view in views:
        assert address(view) % (mmap.PAGESIZE if size >= OWN_PAGES else 16) == 0


@pytest.mark.parametrize("size", [100, OWN_PAGES * 2])
def test_private_to_the_process(size: int) -> None:
    """What a forked child writes is not seen here."""
    view = allocate(size)
    view[0] = 1
    child = os.fork()
    if child == 0:
        view[0] = 2
        os._exit(view[0])
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    assert view[0] == 1


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")
def test_large_memory_is_given_back() -> None:
    """When the last view on a large buffer goes, its pages are no longer mapped."""
    view = allocate(OWN_PAGES * 64)
    start = address(view)
    part = view[-10:]
    del view
    assert _is_mapped(start)
    part[0] = 1
    del part
    assert not _is_mapped(start)


def _is_mapped(where: int) -> bool:
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last = (int(word, 16) for word in line.split()[0].split("-"))
        if first <= where < last:
            return True
    return False


def test_no_memory() -> None:
    """A buffer that no machine can hold is a MemoryError, not an OSError."""
    with pytest.raises(MemoryError, match="no memory for a buffer"):
        allocate(1 << 62)


def test_kernel_without_huge_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that refuses the advice about huge pages gives memory all the same."""

    class Pages(mmap.mmap):
        def madvise(self, *args: int) -> None:
            raise OSError(22, "Invalid argument")

    monkeypatch.setattr(memory.mmap, "mmap", Pages)
    view = allocate(OWN_PAGES)
    view[-1] = 1
    assert len(view) == OWN_PAGES
