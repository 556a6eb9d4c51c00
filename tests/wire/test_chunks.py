"""The grid of chunks: it covers a buffer, and stays where it is when a table grows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc_magic.wire.chunks import CHUNK, digest_of, flat, spans


@given(size=st.integers(0, 5 * CHUNK))
def test_a_buffer_is_covered(size: int) -> None:
    """Invariant: chunks follow each other without gaps, none is empty or too large, all of the buffer is in them."""
    grid = list(spans(bytes(size)))
    assert [start for start, _ in grid] == [sum(n for _, n in grid[:i]) for i in range(len(grid))]
    assert sum(n for _, n in grid) == size
    assert all(0 < n <= CHUNK for _, n in grid)


@pytest.mark.parametrize(("rows", "columns"), [(3, CHUNK // 8 + 5), (1, CHUNK), (40, 100), (7, CHUNK // 8)])
def test_the_grid_begins_anew_at_each_row(rows: int, columns: int) -> None:
    """Rows of at least a chunk have a grid of their own, and the whole is covered; shorter ones have none."""
    array = np.zeros((rows, columns))
    grid = list(spans(memoryview(array).cast("B")))
    starts = [start for start, _ in grid]
    assert sum(n for _, n in grid) == array.nbytes
    is_long = columns * 8 >= CHUNK
    assert all((row * columns * 8 in starts) or not is_long for row in range(rows))
    if not is_long:
        assert starts == list(range(0, array.nbytes, CHUNK))


def test_an_appended_row_changes_few_chunks() -> None:
    """A table with one more row has, of each column, all chunks but the last in common with the one before."""
    before = np.random.default_rng(1).random((4, 100_000))
    after = np.concatenate([before, np.ones((4, 1))], axis=1)

    def names(array: np.ndarray) -> list[bytes]:
        view = memoryview(array).cast("B")
        return [digest_of(view[start : start + size]) for start, size in spans(view)]

    known = set(names(before))
    new = [name for name in names(after) if name not in known]
    assert len(new) == 4 < len(known)


def test_flat() -> None:
    """Whatever the shape and format, the bytes are one row."""
    assert (
        flat(memoryview(np.arange(6, dtype="i2").reshape(2, 3))).tobytes()
        == np.arange(6, dtype="i2").tobytes()
    )
    assert flat(b"abc") == b"abc"
