"""Arrow arrays of texts and of bytes, as they are stored: lengths, and one text after the other.

Arrow's own form has the place of each text in the whole. There one text of another length moves all places and all
bytes behind it, and a changed cell of a large table would be sent as half a table. Lengths stay what they are, and the
bytes are marked with places at which their chunks begin anew: every so many rows.
"""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from importlib import import_module
from typing import Any

import xxhash

__all__ = ["is_large_text", "read_text", "reduce_text"]

_TYPES = {"string": 4, "large_string": 8, "binary": 4, "large_binary": 8}
"""Arrow's types, with the bytes that the place of a text takes."""
_LARGE = 1 << 20
"""Bytes of texts from which on they travel in chunks; below, nothing is gained."""
_ROWS = 1 << 16
_BLOCK = 1 << 18
"""Rows between two marks, more where these have less than so many bytes on average."""
_RECENT = 16
"""Lengths that are kept, of so many arrays."""


def is_large_text(value: Any) -> bool:
    """Tell whether a value of pyarrow is an array of many texts that shows its buffers from their beginning on."""
    if getattr(value, "offset", -1) != 0:  # a table, or an array of several, is none
        return False
    return str(value.type) in _TYPES and value.nbytes >= _LARGE


def reduce_text(value: Any) -> Any:
    """Return how such an array is written: lengths, texts, and which of them are missing."""
    numpy = import_module("numpy")
    kind = str(value.type)
    valid, places, data = value.buffers()
    ends = numpy.frombuffer(places, f"i{_TYPES[kind]}", len(value) + 1)
    lengths = numpy.diff(ends)
    if ends[0] != 0 or data is None or lengths.max() >= 1 << 31:
        return NotImplemented
    texts = numpy.frombuffer(data, "u1", int(ends[-1])).view(_marked_array())
    texts.marks = _marks(ends, _ROWS)
    missing = pickle.PickleBuffer(valid) if valid is not None and value.null_count else None
    told = _lasting(import_module("pyarrow").py_buffer(lengths.astype("i4")))
    return read_text, (kind, value.null_count, missing, pickle.PickleBuffer(told), pickle.PickleBuffer(texts))


def _lasting(lengths: Any) -> Any:
    """Return the memory of lengths, kept for a while, so that it is found when they come again. Any thread."""
    digest = xxhash.xxh3_128_digest(lengths)
    with _lock:
        found = _recent.setdefault(digest, lengths)
        _recent.move_to_end(digest)
        if len(_recent) > _RECENT:
            _recent.popitem(last=False)
    return found


def _marks(ends: Any, rows: int) -> tuple[int, ...]:
    """Return the places, in bytes, at which chunks begin anew."""
    while len(ends) // rows * _BLOCK > ends[-1]:
        rows *= 2
    return tuple(ends[rows:-1:rows].tolist())


def _marked_array() -> Any:
    """Return the type of arrays that can have marks; numpy is loaded only where there is one to be made."""
    global _marked
    if _marked is None:
        _marked = type("Marked", (import_module("numpy").ndarray,), {"marks": ()})
    return _marked


_marked: Any = None
_recent: OrderedDict[bytes, Any] = OrderedDict()
_lock = threading.Lock()


def read_text(kind: str, missing_count: int, valid: Any, lengths: Any, texts: Any) -> Any:
    """Make the array; stands in a stream.

    Args:
        kind: Arrow's type.
        missing_count: how many are missing.
        valid: a bit for each, or None when none is missing.
        lengths: bytes of each, as numbers of four bytes.
        texts: the bytes of all.

    Raises:
        ValueError: these are more, or fewer.
    """
    numpy, arrow = import_module("numpy"), import_module("pyarrow")
    numbers = numpy.frombuffer(_lasting(lengths), "i4")
    ends = numpy.zeros(len(numbers) + 1, f"i{_TYPES[kind]}")
    numpy.cumsum(numbers, out=ends[1:])
    if ends[-1] != memoryview(texts).nbytes:
        raise ValueError("the texts of an Arrow array have other lengths than it says")
    buffers = [
        None if valid is None else arrow.py_buffer(valid),
        arrow.py_buffer(ends),
        arrow.py_buffer(texts),
    ]
    return arrow.Array.from_buffers(getattr(arrow, kind)(), len(numbers), buffers, missing_count)
