"""Row 19: a result over the message limit stays and says so; a repr of 1 GB is cut; others are not slowed."""

from __future__ import annotations

import concurrent.futures
import os
from collections.abc import Iterator

import psutil
import pytest
from checks import Server, serving, unharmed
from live import FACTOR, fair_clock

import rpc_magic
from rpc_magic import errors


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose messages are small."""
    with serving(tmp_path_factory.mktemp("small"), "--port", "0", "--limit", "message=10MB") as server:
        yield server


@pytest.mark.parametrize("results", ["any", "data"])
def test_results(small: Server, results: str) -> None:
    """Returned, pulled, asked for and kept: a RemoteValue with size and limit, which is good for further calls."""
    with unharmed(small), rpc_magic.connect(small.url, results=results) as conn:
        value = conn.call(lambda: bytes(20_000_000))
        assert isinstance(value, rpc_magic.RemoteValue)
        assert value._info.reason.startswith("it has 20,000,")
        assert conn.call(len, value) == 20_000_000
        assert isinstance(value.get(), rpc_magic.RemoteValue)
        outputs = conn.run("big, small = bytes(20_000_000), 5", outputs=["big", "small"]).outputs
        assert outputs["small"] == 5
        assert "the limit is 10,000,000" in repr(outputs["big"])
        assert isinstance(conn.pull("big"), rpc_magic.RemoteValue)
        assert conn.pull("big", "small")[1] == 5
        many = conn.run("a, b, c = (bytes(4_000_000) for _ in range(3))", outputs=["a", "b", "c"]).outputs
        assert [type(many[name]) for name in "ab"] == [bytes, bytes]
        assert isinstance(many["c"], rpc_magic.RemoteValue)
        assert conn.call(abs, -1) == 1


def test_exceptions(small: Server) -> None:
    """An exception that is over the limit arrives with its class and text as a RemoteError."""

    def fail() -> None:
        raise ValueError("too large", bytes(20_000_000))

    with unharmed(small), rpc_magic.connect(small.url) as conn:
        with pytest.raises(errors.RemoteError, match="too large") as caught:
            conn.call(fail)
        assert caught.value.type_name == "ValueError"
        assert conn.call(abs, -1) == 1


def test_arguments(small: Server) -> None:
    """What is to be sent is refused here, before it leaves: size, limit and setting are told."""
    with unharmed(small), rpc_magic.connect(small.url) as conn:
        with pytest.raises(errors.LimitError, match=r"over the limit of 10,000,000; the setting 'message'"):
            conn.call(len, bytes(20_000_000))
        assert conn.call(abs, -1) == 1


def test_a_repr_of_a_gigabyte(small: Server) -> None:
    """It is cut, with a mark; another session's calls take what they always take, and this one goes on."""
    with unharmed(small), rpc_magic.connect(small.url) as conn, rpc_magic.connect(small.url) as other:
        conn.run("class Long:\n def __repr__(self): return 'x' * 1_000_000_000")
        before = psutil.Process(os.getpid()).memory_info().rss
        shown: list[object] = []
        with fair_clock() as now, concurrent.futures.ThreadPoolExecutor(1) as pool:
            result = pool.submit(conn.run, "Long()", on_output=shown.append)
            while not result.done():
                asked = now()
                assert other.call(abs, -1) == 1
                assert now() - asked < 1.0 * FACTOR
            value = result.result().value
            assert now() < 20 * FACTOR
        assert isinstance(value, rpc_magic.RemoteValue)
        assert len(repr(value)) < 10_000
        text = value._repr_mimebundle_()[0]["text/plain"]
        assert len(text) < 20_000_000
        assert text[-100:].strip("x"), "a mark"
        assert psutil.Process(os.getpid()).memory_info().rss < before + 300_000_000
        conn.run("print('y' * 100_000_000)", on_output=shown.append)
        assert sum(len(getattr(message, "text", "")) for message in shown) == 100_000_001
        assert conn.call(abs, -1) == 1
