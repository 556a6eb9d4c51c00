"""Facts about values: what returns at once, what is shown of the rest."""

from __future__ import annotations

import pickle
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc_magic.serial import describe, is_eager, python_tag

EAGER = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.integers() | st.text(), inner)
    ),
    max_leaves=30,
)


class Sub(dict):
    pass


@given(EAGER, st.integers(0, 400))
def test_limit_is_the_pickled_size(value, limit):
    """A plain value is eager when its pickle fits the limit, give or take what sharing saves."""
    size = len(pickle.dumps(value, 5))
    if is_eager(value, limit):
        assert size <= limit + 16
    else:
        assert size >= limit / 2 - 64


@pytest.mark.parametrize(
    "value", [Sub(), [np.float64(1)], bytearray(b""), {1: object()}, len, 1j, [Sub()], True + 0j]
)
def test_other_types_wait(value):
    """Only the exact plain types are eager."""
    assert not is_eager(value)


def test_stops_early():
    """Huge containers are not walked."""
    huge = [None] * 10_000_000
    start = time.process_time()
    assert not is_eager(huge)
    assert not is_eager([huge] * 10)
    assert not is_eager("x" * 10_000_000)
    assert time.process_time() - start < 1.0


def test_cycles_and_depth_end():
    """A list in itself, an exponential one and a very deep one give an answer."""
    circle = []
    circle.append(circle)
    assert is_eager(circle) in (True, False)
    double = []
    for _ in range(100):
        double = [double, double]
    assert is_eager(double) in (True, False)
    deep = []
    for _ in range(50_000):
        deep = [deep]
    assert is_eager(deep, 1 << 12) in (True, False)
    while deep:
        deep = deep.pop()


def test_describe_tables_and_arrays():
    """Tables are told in rows and columns, arrays by shape, with their size."""
    pd = pytest.importorskip("pandas")
    pl = pytest.importorskip("polars")
    pa = pytest.importorskip("pyarrow")
    frame = describe(pd.DataFrame({"a": range(10), "b": range(10)}))
    assert frame[0] == "pandas.DataFrame"
    assert frame.extent == "10 rows \N{MULTIPLICATION SIGN} 2 columns"
    assert frame.size >= 160
    assert describe(pd.Series([1.0, 2.0])).extent == "2 rows float64"
    assert describe(pl.DataFrame({"a": [1]})).extent == "1 rows \N{MULTIPLICATION SIGN} 1 columns"
    assert describe(pa.table({"a": [1]})).extent == "1 rows \N{MULTIPLICATION SIGN} 1 columns"
    array = describe(np.zeros((3, 4)))
    assert (array.type_name, array.size, array.extent) == ("numpy.ndarray", 96, "shape (3, 4) float64")


def test_describe_plain_values():
    """Small values are shown, large ones only counted."""
    assert describe([1, 2]) == ("list", -1, "len 2", "[1, 2]")
    assert describe("x" * 1000)[:3] == ("str", 1000, "len 1000")
    assert len(describe("x" * 1000).preview) <= 80
    assert "\n" not in describe("a\nb").preview
    assert describe(list(range(1000))).preview == ""
    assert describe(10**1000).preview == ""
    assert describe(None).preview == "None"
    assert describe(test_stops_early).preview == "function test_stops_early"


def test_describe_never_raises():
    """A value whose every attribute raises still has a description."""

    class Hostile:
        def __getattr__(self, name):
            raise RuntimeError(name)

        def __len__(self):
            raise RuntimeError

        def __repr__(self):
            raise RuntimeError

    class Liar:
        shape = "no"
        nbytes = "no"
        __len__ = None

    assert describe(Hostile()).type_name.endswith("Hostile")
    assert describe(Liar()).size == -1
    assert describe(Hostile).type_name == "type"


def test_a_container_of_about_as_many_items_as_the_limit_is_looked_into():
    """Its items count whatever their number: they may be too large together, or no plain data."""
    assert not is_eager(["abcdefgh"] * 1000, 1000)
    assert not is_eager([object()] * 1500, 1000)
    assert not is_eager(dict.fromkeys(range(700), object()), 1000)


def test_previews_of_arrays_and_tables():
    """The first items, the columns; whatever the size, in no time."""
    pd, pl = pytest.importorskip("pandas"), pytest.importorskip("polars")
    assert describe(np.arange(3)).preview == "[0, 1, 2]"
    assert describe(np.zeros((1000, 1000))).preview == "[0.0, 0.0, 0.0, 0.0, 0.0, …]"
    assert describe(np.array([object()])).preview == ""
    assert describe(np.zeros(0)).preview == ""
    assert describe(pd.Series(pd.to_datetime(["2020-01-01"]))).preview == ""
    assert describe(np.float64(1.5)).preview == ""
    assert describe(pd.DataFrame({"a": [1], 2: ["x"]})).preview == "a, 2"
    assert describe(pd.DataFrame(np.zeros((1, 50)))).preview.endswith("19, …")
    assert describe(pd.Series(["x", "y"])).preview == "['x', 'y']"
    assert describe(pl.DataFrame({"a": [1]})).preview == "a"
    assert describe(pl.Series([1, 2])).preview == "[1, 2]"
    assert len(describe(pd.DataFrame({"x" * 200: [1]})).preview) <= 80


def test_python_tag():
    """Version and magic number of this Python."""
    assert python_tag()[:2] == sys.version_info[:2]
    assert python_tag()[2] > 0
