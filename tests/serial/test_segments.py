"""Streams in segments read like one stream."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rpc_magic.serial.segments import SegmentReader, join_small


@given(st.lists(st.binary(max_size=20), min_size=1), st.lists(st.integers(0, 30)))
def test_reads_do_not_see_the_seams(segments, sizes):
    """Whatever is read, by size or into a buffer, is what one joined stream would give."""
    whole = b"".join(segments)
    by_size, into = SegmentReader(segments), SegmentReader(segments)
    position = 0
    for size in sizes:
        expected = whole[position : position + size]
        assert bytes(by_size.read(size)) == expected
        target = bytearray(size)
        count = into.readinto(target)
        assert target[:count] == expected
        position += len(expected)


@given(st.lists(st.binary(max_size=8).map(lambda b: b + b"\n"), min_size=1))
def test_lines(segments):
    """Lines are found across segments."""
    reader = SegmentReader(segments)
    for line in b"".join(segments).splitlines(keepends=True):
        if b"\r" not in line and b"\x0b" not in line and b"\x0c" not in line:
            break
    assert reader.readline() == b"".join(segments).split(b"\n")[0] + b"\n"


def test_small_segments_are_joined_and_large_ones_kept():
    """Joining keeps the order, and large segments themselves."""
    large = b"L" * 500_000
    segments = [b"a", b"b", large, b"c" * 70_000, b"d", large]
    whole = b"".join(segments)
    joined = join_small(segments)
    assert b"".join(joined) == whole
    assert [len(part) for part in joined] == [2, 500_000, 70_001, 500_000]
    assert joined[1] is large
