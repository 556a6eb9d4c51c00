"""Arrow tables as plain data: what names a class, or is compressed, is refused before pyarrow makes anything of it."""

from __future__ import annotations

import contextlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc_magic.errors import ProtocolError, RpcMagicError, TransferError
from rpc_magic.serial import decode_plain, encode_plain
from rpc_magic.serial.plain_tables import unpack_table

ROWS = ["one", "two", None] * 100
NESTED = {"a": [{"b": [1, 2]}, {"b": []}], "c": pa.array(["x", "x"]).dictionary_encode()}


def stream(table: pa.Table, **options: object) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


ASKED: list[bytes] = []


class Loaded(pa.ExtensionType):
    """A class that somebody has registered; what it is given comes from the wire."""

    def __init__(self) -> None:
        super().__init__(pa.int64(), "rpc_magic.test_loaded")

    def __arrow_ext_serialize__(self) -> bytes:
        return b"from the wire"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> Loaded:
        ASKED.append(serialized)
        return cls()


@pytest.mark.parametrize(
    "data",
    [{"a": ROWS}, NESTED, {}, {"a": pa.array([], pa.int8())}],
    ids=["texts", "nested", "no columns", "no rows"],
)
def test_tables_come_back(data: dict) -> None:
    """Tables with nested and dictionary columns, and empty ones, come back equal."""
    table = pa.table(data)
    assert decode_plain([bytes(b) for b in encode_plain(table)]).equals(table)


@pytest.mark.parametrize("is_nested", [False, True])
def test_extension_types(is_nested: bool) -> None:
    """A registered class is not asked to make anything of what came; such a table does not leave as plain data."""
    array = pa.ExtensionArray.from_storage(Loaded(), pa.array([1, 2]))
    table = pa.table({"a": pa.StructArray.from_arrays([array], ["b"]) if is_nested else array})
    pa.register_extension_type(Loaded())
    try:
        ASKED.clear()
        assert pa.ipc.open_stream(stream(table)).read_all().equals(table)
        assert ASKED, "this is what pyarrow does"
        ASKED.clear()
        with pytest.raises(ProtocolError, match="extension"):
            unpack_table(stream(table))
        assert ASKED == []
        with pytest.raises(TransferError, match="extension"):
            encode_plain(table)
    finally:
        pa.unregister_extension_type("rpc_magic.test_loaded")


@pytest.mark.parametrize("data", [{"a": ROWS}, NESTED], ids=["plain", "dictionary"])
@pytest.mark.parametrize("compression", ["zstd", "lz4"])
def test_bombs(data: dict, compression: str) -> None:
    """A compressed stream is refused, whatever it would grow to."""
    with pytest.raises(ProtocolError, match="compressed"):
        unpack_table(stream(pa.table(data), compression=compression))
    bomb = stream(pa.table({"a": np.zeros(6_000_000)}), compression=compression)
    assert len(bomb) < 1_000_000
    with pytest.raises(ProtocolError, match="compressed"):
        unpack_table(bomb)


def test_other_messages() -> None:
    """A tensor is no table."""
    sink = pa.BufferOutputStream()
    pa.ipc.write_tensor(pa.Tensor.from_numpy(np.zeros(3)), sink)
    with pytest.raises(ProtocolError, match="tensor"):
        unpack_table(sink.getvalue())


@settings(deadline=None, max_examples=100)
@given(at=st.integers(0, 10_000), value=st.integers(0, 255), end=st.integers(0, 10_000))
def test_altered_streams(at: int, value: int, end: int) -> None:
    """Invariant: an altered or shortened stream is a table or one of our errors."""
    data = bytearray(stream(pa.table(NESTED)))
    data[at % len(data)] = value
    with contextlib.suppress(RpcMagicError):
        unpack_table(bytes(data[: end or None]))
