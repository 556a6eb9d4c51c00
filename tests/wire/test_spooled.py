"""What lies in a spool file: frames and lists of calls, whole, broken off, and any bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc_magic.wire import messages
from rpc_magic.wire.frames import HEADER, MAGIC, encode_frame
from rpc_magic.wire.spooled import scan

TEXT = messages.encode(messages.Stream("stdout", "text"))


def said(call: int, number: int, *buffers: bytes) -> bytes:
    return b"".join(encode_frame(call, number, 0, TEXT, buffers))


def told(base: int, *calls: int) -> bytes:
    listed = messages.CallList(tuple(messages.CallInfo(call, "label", "") for call in calls))
    return b"".join(encode_frame(base, 0, 0, messages.encode(listed)))


def look(data: bytes) -> tuple[list[tuple[int, int, bytes]], list[int], int]:
    """Return the frames by call and number, with their bytes, the calls and the last base."""
    found = scan(lambda at, size: data[at : at + size], len(data))
    frames = [(one.call, one.number, data[one.start : one.start + one.size]) for one in found.frames]
    return frames, [one.number for one in found.calls], found.base


def test_one_client() -> None:
    """Its calls have its base, also those of what was written before the list."""
    first, second = said(1, 7, b"x" * 100_000), said(1, 8)
    frames, calls, base = look(first + told(1000, 1001) + second)
    assert frames == [(1001, 7, first), (1001, 8, second)]
    assert (calls, base) == ([1001], 1000)


def test_two_clients() -> None:
    """What the second was sent has its base; what the first one's call says since names the session's own number."""
    left, new = said(1001, 0), said(1, 1)
    frames, calls, base = look(
        said(1, 7) + told(1000, 1001) + told(2000, 1001) + left + new + told(2000, 1001, 2001)
    )
    assert [(call, number) for call, number, _ in frames] == [(1001, 7), (1001, 0), (2001, 1)]
    assert (calls, base) == ([1001, 2001], 2000)


def test_nothing_of_use() -> None:
    """Without a list nobody knows whose the frames are."""
    assert look(said(1, 7)) == ([], [], 0)


@pytest.mark.parametrize(("length", "buffers"), [(0, 0), (1, 0), (2, 1 << 31)])
def test_a_header_of_no_frame(length: int, buffers: int) -> None:
    """Nothing is looked for behind the end of the file, and no memory is taken for it."""
    asked: list[int] = []
    whole = told(1000, 1001) + said(1, 7)
    data = whole + HEADER.pack(MAGIC, 1, 0, length, 1, 8, 0, buffers, 0) + b"x"

    def read(at: int, size: int) -> bytes:
        asked.append(at + size)
        return data[at : at + size]

    assert [one.number for one in scan(read, len(data)).frames] == [7]
    assert max(asked) <= len(data)


@given(cut=st.integers(0, 400))
def test_broken_off(cut: int) -> None:
    """A writer that was killed has left a part of a frame: everything before it is found."""
    whole = told(1000, 1001) + said(1, 7, b"abc") + said(1, 8)
    frames, _, _ = look(whole[:cut])
    ends = [len(told(1000, 1001) + said(1, 7, b"abc")), len(whole)]
    assert len(frames) == sum(cut >= end for end in ends)


@given(data=st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    """Invariant: whatever is there, nothing is raised."""
    look(data)
    look(told(1000, 1001) + data)
