"""Arrow arrays of texts: what comes back is equal, and a text of another length changes few chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc_magic import serial
from rpc_magic.serial import texts
from rpc_magic.wire.chunks import CHUNK, CHUNKS_A_CHUNK, digest_of, spans

MANY = 300_000


def there_and_back(value: Any) -> Any:
    return serial.decode([memoryview(bytearray(b)) for b in serial.encode(value, namespace={})], namespace={})


def some(kind: str, *, missing: bool) -> pa.Array:
    words = [f"Wörter {i * 7919 % MANY}" for i in range(MANY)]
    if "binary" in kind:
        words = [word.encode() for word in words]
    return pa.array([None if missing and i % 7 == 3 else w for i, w in enumerate(words)], kind)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("kind", ["string", "large_string", "binary", "large_binary"])
def test_equal(kind: str, missing: bool) -> None:
    """Of every type, with and without missing ones, by itself, in a table, and as a part of a larger array."""
    array = some(kind, missing=missing)
    assert texts.is_large_text(array)
    for value in (
        array,
        pa.table({"t": array}),
        pa.chunked_array([array, array]),
        array[5:],
        array[: MANY - 9],
    ):
        back = there_and_back(value)
        assert type(back) is type(value)
        assert back.equals(value)
        back.validate(full=True)


def test_small_and_empty() -> None:
    """Few texts, none, and none that is there."""
    for value in (pa.array(["a", None]), pa.array([], "string"), pa.nulls(MANY, "large_string")):
        assert there_and_back(value).equals(value)


def test_lengths_that_lie() -> None:
    """Nothing is made that would be read beyond its end."""
    with pytest.raises(ValueError, match="other lengths"):
        texts.read_text("string", 0, None, np.array([1, 5], "i4"), b"abc")


def names(value: Any) -> tuple[set[bytes], int]:
    """Return the digests of what is sent, and its bytes."""
    found, size = set(), 0
    for buffer in serial.encode(value, namespace={}):
        view = memoryview(buffer).cast("B")
        for start, length in spans(buffer):
            found.add(digest_of(view[start : start + length]))
            size += length
    return found, size


@pytest.mark.parametrize("at", [0, MANY // 2, MANY - 1])
def test_a_text_of_another_length(at: int) -> None:
    """The chunks that are new are those of its block, and one with its length."""
    words = some("large_string", missing=False).to_pylist()
    before, size = names(pa.array(words, "large_string"))
    words[at] = "longer than it was before"
    after, _ = names(pa.array(words, "large_string"))
    assert len(before) > 20
    assert len(after - before) * CHUNK < min(size, 2_600_000)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=300), st.integers(1, 20_000))
def test_marks_are_few(lengths: list[int], times: int) -> None:
    """Invariant: marks rise inside the texts, and make no more chunks than a buffer may have."""
    ends = np.concatenate([[0], np.cumsum(np.tile(lengths, times))])
    marks = texts._marks(ends, texts._ROWS)
    assert list(marks) == sorted(marks)
    assert all(0 <= mark <= ends[-1] for mark in marks)
    pieces = np.diff([0, *marks, ends[-1]])
    chunks = int(sum(-(-piece // CHUNK) for piece in pieces))
    assert chunks <= CHUNKS_A_CHUNK * max(1, -(-int(ends[-1]) // CHUNK))
