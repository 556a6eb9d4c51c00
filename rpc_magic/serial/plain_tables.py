"""Arrow tables as plain data: a stream of Arrow IPC that names no class and holds nothing compressed.

A stream is looked through before pyarrow makes anything of it. A schema may name extension types, for which pyarrow
runs code that somebody has registered (and pickle, before pyarrow 14.0.1); compressed buffers may grow without a
limit. Both stand in the metadata of the stream's messages, which are flatbuffers: the tables and numbers of fields
below are those of Arrow's ``format/Message.fbs``, the layout is that of the FlatBuffers internals page.
"""

from __future__ import annotations

import sys
from importlib import import_module
from struct import Struct
from struct import error as StructError  # noqa: N812 - an error's name
from typing import Any

from rpc_magic.errors import ProtocolError, TransferError
from rpc_magic.serial.segments import Buffer

__all__ = ["is_table", "pack_table", "unpack_table"]

_EXTENSION = b"ARROW:extension:name"
"""Key in a field's metadata that makes it an extension type."""

_HEADER = 2  # of a Message
_DATA = 1  # of a DictionaryBatch: its RecordBatch
_COMPRESSION = 3  # of a RecordBatch

_OFFSET, _SIGNED, _SHORT = Struct("<I"), Struct("<i"), Struct("<H")


def is_table(kind: type) -> bool:
    """Tell whether a type is pyarrow's table."""
    loaded = sys.modules.get("pyarrow")
    return loaded is not None and kind is getattr(loaded, "Table", None)


def pack_table(table: Any, path: str) -> Buffer:
    """Return a pyarrow table as an Arrow IPC stream (of a slice, its own rows only).

    Raises:
        TransferError: it has a type without a form in Arrow IPC, or an extension type.
    """
    arrow = sys.modules["pyarrow"]
    sink = arrow.BufferOutputStream()
    try:
        with arrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        data = sink.getvalue()
        _check(data)
    except (arrow.ArrowException, ProtocolError) as error:
        raise TransferError(path, "pyarrow.Table", str(error)) from error
    return memoryview(data)


def unpack_table(buffer: Buffer) -> Any:
    """Make a pyarrow table from an Arrow IPC stream, and check it fully.

    Raises:
        ProtocolError: it is malformed, names extension types, or is compressed.
        TransferError: pyarrow is not installed here.
    """
    try:
        arrow = import_module("pyarrow")
        ipc = import_module("pyarrow.ipc")
    except ImportError as error:
        raise TransferError("", "pyarrow.Table", "pyarrow is not installed here") from error
    try:
        _check(arrow.py_buffer(buffer))
        with ipc.open_stream(buffer) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (arrow.ArrowException, OSError, EOFError, ValueError) as error:
        raise ProtocolError(f"an Arrow table is malformed: {error}") from error
    return table


def _check(data: Any) -> None:
    """Look through a stream; raise `ProtocolError` for what is not plain in it."""
    reader = import_module("pyarrow.ipc").MessageReader.open_stream(data)
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        metadata = memoryview(message.metadata)
        if message.type == "schema":
            if _EXTENSION in bytes(metadata):
                raise ProtocolError("an Arrow table with extension types is no plain data")
        elif message.type not in {"record batch", "dictionary"}:
            raise ProtocolError(f"a stream of an Arrow table holds a {message.type}")
        elif _is_compressed(metadata, is_dictionary=message.type == "dictionary"):
            raise ProtocolError("an Arrow table is compressed, and might grow without a limit")


def _is_compressed(metadata: memoryview, *, is_dictionary: bool) -> bool:
    try:
        at: int | None = _OFFSET.unpack_from(metadata)[0]
        for field in (_HEADER, _DATA) if is_dictionary else (_HEADER,):
            at = _table(metadata, at, field)
        return at is None or _table(metadata, at, _COMPRESSION) is not None
    except StructError as error:
        raise ProtocolError("a message of an Arrow table is malformed") from error


def _table(data: memoryview, at: int | None, field: int) -> int | None:
    """Return where the table lies that is a field of the table at `at`; None where there is none."""
    if at is None:
        return None
    entries = at - int(_SIGNED.unpack_from(data, at)[0])
    place = 4 + 2 * field
    if place >= _SHORT.unpack_from(data, entries)[0]:
        return None
    offset = int(_SHORT.unpack_from(data, entries + place)[0])
    return at + offset + int(_OFFSET.unpack_from(data, at + offset)[0]) if offset else None
