"""Slices of pyarrow's tables and arrays: pyarrow pickles the whole parent, Arrow IPC only the slice."""

from __future__ import annotations

import pickle
import sys
from importlib import import_module
from typing import Any

from rpc_magic.serial.encoding import Encoding
from rpc_magic.serial.texts import is_large_text, reduce_text

__all__ = ["is_arrow", "read_slice", "reduce_slice"]

_WASTE_FACTOR = 2
_WASTE_BYTES = 4096
"""A value is copied compactly when its buffers are that much larger than what it shows of them."""

_TABLES = frozenset({"Table", "ChunkedArray"})
_BATCHES = frozenset({"RecordBatch", "Array"})


def is_arrow(kind: type) -> bool:
    """Tell whether a type is one of pyarrow's tables, batches, arrays or chunked arrays."""
    if kind.__module__ != "pyarrow.lib":
        return False
    return kind.__name__ in _TABLES or kind.__name__ in _BATCHES or _is_array(kind)


def _is_array(kind: type) -> bool:
    arrow: Any = sys.modules["pyarrow.lib"]
    return issubclass(kind, arrow.Array)


def reduce_slice(_encoding: Encoding, value: Any) -> Any:
    """A value that shows little of its buffers is copied compactly; many texts leave as `texts` says."""
    if value.get_total_buffer_size() <= _WASTE_FACTOR * value.nbytes + _WASTE_BYTES:
        return reduce_text(value) if is_large_text(value) else NotImplemented
    arrow = sys.modules["pyarrow"]
    ipc = import_module("pyarrow.ipc")
    name = type(value).__name__
    if name not in _TABLES and name not in _BATCHES:
        name = "Array"
    rows = value
    if name == "ChunkedArray":
        rows = arrow.table({"": value})
    elif name == "Array":
        rows = arrow.record_batch({"": value})
    sink = arrow.BufferOutputStream()
    try:
        with ipc.new_stream(sink, rows.schema) as writer:
            writer.write(rows)
    except arrow.ArrowException:
        return NotImplemented  # a type without a form in Arrow IPC
    return read_slice, (name, pickle.PickleBuffer(sink.getvalue()))


def read_slice(name: str, data: Any) -> Any:
    """Make a value from its Arrow IPC stream; stands in a stream.

    Args:
        name: "Table", "ChunkedArray", "RecordBatch" or "Array".
        data: the stream's bytes.
    """
    with import_module("pyarrow.ipc").open_stream(data) as reader:
        if name in _TABLES:
            table = reader.read_all()
            return table if name == "Table" else table.column(0)
        batch = reader.read_next_batch()
        return batch if name == "RecordBatch" else batch.column(0)
