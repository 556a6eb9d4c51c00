"""Plain data: faithful for what it takes, deaf to everything else, safe on any bytes."""

from __future__ import annotations

import contextlib
import datetime as dt
import math
import zoneinfo

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from rpc_magic.errors import LimitError, ProtocolError, TransferError
from rpc_magic.serial import decode_plain, encode_plain
from rpc_magic.serial.plain import MAX_DEPTH

ZONES = st.none() | st.timezones(no_cache=False) | st.just(dt.UTC)

HASHABLE = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters())
    | st.binary()
    | st.complex_numbers(allow_nan=False)
    | st.dates()
    | st.datetimes(timezones=ZONES)
    | st.timedeltas()
    | st.times(),
    lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4),
    max_leaves=6,
)
VALUES = st.recursive(
    HASHABLE | st.binary().map(bytearray) | st.sets(HASHABLE, max_size=4),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(HASHABLE, inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
    ),
    max_leaves=20,
)


def wire(value):
    """Send through bytes, as a connection does."""
    return decode_plain([bytearray(buffer) for buffer in encode_plain(value)])


def kinds(value):
    """Tell the types all the way down: 1 == True == 1.0 must not hide a change."""
    if isinstance(value, dict):
        return dict, sorted(str((kinds(k), kinds(v))) for k, v in value.items())
    if isinstance(value, (set, frozenset)):
        return type(value), sorted(str(kinds(item)) for item in value)
    if isinstance(value, (list, tuple)):
        return type(value), [kinds(item) for item in value]
    return type(value), repr(value)


@settings(deadline=None)
@given(VALUES)
def test_values_come_back_equal(value):
    """decode_plain(encode_plain(x)) == x, with the same types everywhere."""
    copy = wire(value)
    assert copy == value
    assert kinds(copy) == kinds(value)


@settings(deadline=None)
@given(
    npst.arrays(
        st.one_of(
            npst.scalar_dtypes(),
            npst.unicode_string_dtypes(),
            npst.byte_string_dtypes(),
            npst.array_dtypes(npst.integer_dtypes() | npst.floating_dtypes()),
        ),
        npst.array_shapes(min_dims=0, min_side=0, max_side=4),
    )
)
def test_arrays_come_back_equal(array):
    """Arrays of any type without objects come back with shape, type and bytes."""
    copy = wire(array)
    assert copy.dtype == array.dtype
    assert copy.shape == array.shape
    assert copy.tobytes() == array.tobytes()
    assert copy.flags.writeable


def test_array_layouts():
    """Fortran order is kept, strided and reversed arrays are compacted, scalars keep their type."""
    base = np.arange(60.0).reshape(6, 10)
    fortran = wire(np.asfortranarray(base))
    assert fortran.flags.f_contiguous
    assert (fortran == base).all()
    assert (wire(base[::2, ::-1]) == base[::2, ::-1]).all()
    scalar = wire(np.datetime64("2020-01-01", "D"))
    assert scalar == np.datetime64("2020-01-01")
    assert type(wire(np.float32(1.5))) is np.float32
    padded = np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True))
    assert wire(padded).dtype == padded.dtype


def test_large_arrays_are_not_copied():
    """An array leaves by reference and arrives on the buffer that it came in."""
    array = np.arange(100_000)
    head, buffer = encode_plain([array])
    assert np.shares_memory(np.frombuffer(buffer, np.int64), array)
    target = bytearray(buffer)
    (copy,) = decode_plain([head, target])
    assert np.shares_memory(copy, np.frombuffer(target, np.uint8))


def test_tables():
    """Arrow tables travel; of a slice only its own rows."""
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"a": list(range(100_000)), "b": ["x"] * 100_000})
    part = table.slice(10, 5)
    assert wire(table).equals(table)
    assert wire([part])[0].equals(part)
    assert sum(memoryview(b).nbytes for b in encode_plain(part)) < 5_000


def test_special_values():
    """NaN, infinities, huge integers, lone surrogates and time zones keep their meaning."""
    assert math.isnan(wire(math.nan))
    assert wire([math.inf, -0.0, 10**400, -(2**64), 2**64 - 1]) == [
        math.inf,
        0.0,
        10**400,
        -(2**64),
        2**64 - 1,
    ]
    assert wire("\udc80") == "\udc80"
    moment = dt.datetime(2020, 10, 25, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    assert wire(moment).utcoffset() == moment.utcoffset()
    zone = dt.timezone(dt.timedelta(hours=2), "here")
    assert wire(zone).tzname(None) == "here"


class Odd(int):
    pass


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, len]}, "x['a'][1]"),
        ([Odd(3)], "x[0]"),
        (({1: object()},), "x[0][1]"),
        ([np.array([None])], "x[0]"),
        ([np.ma.masked_array([1])], "x[0]"),
        ([ValueError()], "x[0]"),
        ({Odd(1): 2}, "x[a key]"),
    ],
)
def test_others_are_refused_with_a_path(value, path):
    """What is not plain data is named."""
    with pytest.raises(TransferError) as caught:
        encode_plain(value, name="x")
    assert caught.value.path == path


def test_depth_is_limited_both_ways():
    """Nesting beyond the limit is an error for the sender, and for a receiver who is sent it anyhow."""
    deep = []
    for _ in range(MAX_DEPTH + 10):
        deep = [deep]
    with pytest.raises(TransferError, match="nested deeper"):
        encode_plain(deep)
    circle = []
    circle.append(circle)
    with pytest.raises(TransferError, match="nested deeper"):
        encode_plain(circle)
    term = 1
    for _ in range(MAX_DEPTH + 10):
        term = [0, [term]]
    with pytest.raises((LimitError, ProtocolError)):
        decode_plain([msgspec.msgpack.encode(term)])
    with pytest.raises((LimitError, ProtocolError)):
        decode_plain([b"\x91" * 100_000 + b"\x00"])


TERMS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 20)
    | st.floats()
    | st.text(max_size=6)
    | st.binary(max_size=6),
    lambda inner: st.lists(inner, max_size=5) | st.tuples(st.integers(0, 15), inner, inner).map(list),
    max_leaves=15,
)


@settings(deadline=None, max_examples=300)
@given(TERMS, st.lists(st.binary(max_size=64), max_size=3))
def test_any_terms_give_data_or_an_error(term, buffers):
    """Well-formed msgpack that nobody of ours wrote raises nothing but the stated errors."""
    with contextlib.suppress(ProtocolError, LimitError, TransferError):
        decode_plain([msgspec.msgpack.encode(term), *buffers])


@settings(deadline=None, max_examples=300)
@given(st.lists(st.binary(max_size=200), max_size=4))
def test_any_bytes_give_data_or_an_error(buffers):
    """Arbitrary bytes raise nothing but the stated errors."""
    with contextlib.suppress(ProtocolError, LimitError, TransferError):
        decode_plain(buffers)


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_damaged_bytes_give_data_or_an_error(data):
    """Bytes of ours with a few changed raise nothing but the stated errors."""
    arrow = pytest.importorskip("pyarrow")
    value = [np.arange(3), arrow.table({"a": [1, 2], "b": ["x", None]}), {1: (2, "é")}, b"z" * 20_000]
    buffers = [bytearray(buffer) for buffer in encode_plain(value)]
    for _ in range(data.draw(st.integers(1, 4))):
        buffer = data.draw(st.sampled_from(buffers))
        buffer[data.draw(st.integers(0, min(len(buffer), 3000) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProtocolError, LimitError, TransferError):
        decode_plain(buffers)


HOSTILE_ARRAYS = {
    "objects": ["|O", [1], False],
    "objects in a structure": [[0, ["a"], ["|O"], [0], 8, [None]], [1], False],
    "empty items": ["|V0", [10**12], False],
    "negative": ["<i8", [-1, -1], False],
    "huge": ["<i8", [2**62, 0], False],
    "overflow": ["<i8", [2**32, 2**32], False],
    "too many dimensions": ["|u1", [1] * 100, False],
    "not numbers": ["|u1", ["8"], False],
    "overlapping objects": [[0, ["a", "b"], ["<i8", "|O"], [0, 0], 8, [None, None]], [1], False],
    "python expression": ["__import__('os')", [8], False],
    "subarray": [[1, "<i8", [-1]], [1], False],
}


@pytest.mark.parametrize("name", HOSTILE_ARRAYS)
def test_hostile_arrays(name):
    """Descriptions of arrays that would reach objects, foreign memory or endless memory are refused."""
    with pytest.raises(ProtocolError):
        decode_plain([msgspec.msgpack.encode([11, *HOSTILE_ARRAYS[name]]), bytes(8)])


def test_buffers_are_used_once():
    """Buffers too few or too many are an error: a small message cannot multiply a large buffer."""
    head, *buffers = encode_plain([b"x" * 50_000])
    with pytest.raises(ProtocolError, match="more buffers"):
        decode_plain([head])
    with pytest.raises(ProtocolError, match="do not name"):
        decode_plain([head, *buffers, b""])
