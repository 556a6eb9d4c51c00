"""Compressed chunks: they come out equal, and a bomb takes no memory."""

from __future__ import annotations

import random

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from rpc_magic.errors import ProtocolError
from rpc_magic.wire.packing import pack, pays, unpack_into


@given(data=st.binary(min_size=1))
def test_round_trip(data: bytes) -> None:
    """Invariant: what was compressed comes out equal."""
    target = bytearray(len(data))
    unpack_into(memoryview(target), pack(memoryview(data)))
    assert target == data


@given(data=st.binary(max_size=100))
def test_any_bytes(data: bytes) -> None:
    """Invariant: any bytes are a chunk of the stated size or `ProtocolError`."""
    with pytest.raises(ProtocolError):
        unpack_into(memoryview(bytearray(200)), data)


def test_a_bomb_is_refused() -> None:
    """A gigabyte that is told to be a chunk is refused by its stated size, and so is one that states none."""
    bomb = zstandard.ZstdCompressor().compress(bytes(50_000_000))
    assert len(bomb) < 10_000
    with pytest.raises(ProtocolError, match="size"):
        unpack_into(memoryview(bytearray(1000)), bomb)
    silent = zstandard.ZstdCompressor(write_content_size=False).compress(bytes(1000))
    with pytest.raises(ProtocolError, match="size"):
        unpack_into(memoryview(bytearray(1000)), silent)


def test_pays() -> None:
    """Repetitive data are worth it, random ones are not."""
    assert pays(memoryview(bytes(10_000)))
    assert not pays(memoryview(random.Random(1).randbytes(10_000)))
