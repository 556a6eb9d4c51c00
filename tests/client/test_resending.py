"""What a session has already is named and not sent, in both directions; counted in bytes on the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from live import served
from throttle import ThrottledLink

import rpc_magic
from rpc_magic.runtime import records

KB, MB = 1000, 1_000_000


@pytest.fixture
def conn() -> Iterator[rpc_magic.Connection]:
    """A connection with a fresh session."""
    with rpc_magic.connect() as connection:
        yield connection


@pytest.fixture
def frame() -> pd.DataFrame:
    """A million rows of numbers and strings."""
    rng = np.random.default_rng(7)
    numbers = {name: rng.random(1_000_000) for name in "abc"}
    return pd.DataFrame(
        {**numbers, "n": np.arange(1_000_000), "s": rng.choice(["north", "south", "east"], 1_000_000)}
    )


def traffic(conn: rpc_magic.Connection, work: Callable[[], Any]) -> tuple[int, int]:
    """Return the bytes that `work` sends and receives."""
    before = conn.info()
    work()
    after = conn.info()
    return after.bytes_sent - before.bytes_sent, after.bytes_received - before.bytes_received


def test_a_table_is_sent_once(conn: rpc_magic.Connection, frame: pd.DataFrame) -> None:
    """Unchanged: under 64 KB. One cell changed: under 4 MB, and the session sees the change."""
    first, _ = traffic(conn, lambda: conn.push(frame=frame))
    assert first > 30 * MB
    again, _ = traffic(conn, lambda: conn.push(frame=frame))
    assert again < 64 * KB
    frame.loc[777_777, "b"] = 5.5
    changed, _ = traffic(conn, lambda: conn.push(frame=frame))
    assert changed < 4 * MB
    frame.loc[333, "s"] = "a text of another length"
    changed, _ = traffic(conn, lambda: conn.push(frame=frame))
    assert changed < 4 * MB
    assert conn.run("float(frame.loc[777_777, 'b']), frame.loc[333, 's']").value == (
        5.5,
        "a text of another length",
    )
    pd.testing.assert_frame_equal(conn.pull("frame"), frame)


def test_a_table_comes_back_once(conn: rpc_magic.Connection) -> None:
    """A table that was made there: the second fetch is under 64 KB, under 4 MB after one cell was changed there."""
    conn.run(
        "import numpy as np, pandas as pd\n"
        "rng = np.random.default_rng(7)\n"
        "frame = pd.DataFrame({**{name: rng.random(1_000_000) for name in 'abc'}, 's': ['x', 'yy'] * 500_000})"
    )
    fetched: list[pd.DataFrame] = []
    _, first = traffic(conn, lambda: fetched.append(conn.pull("frame")))
    assert first > 24 * MB
    _, again = traffic(conn, lambda: fetched.append(conn.pull("frame")))
    assert again < 64 * KB
    conn.run("frame.loc[3, 'a'] = -1.0; frame.loc[3, 's'] = 'a text of another length'")
    _, changed = traffic(conn, lambda: fetched.append(conn.pull("frame")))
    assert changed < 4 * MB
    assert fetched[2].loc[3, "a"] == -1.0
    assert fetched[2].loc[3, "s"] == "a text of another length"
    assert fetched[0].loc[3, "a"] == fetched[1].loc[3, "a"] != -1.0
    fetched[2].loc[5, "c"] = -2.0
    back, _ = traffic(conn, lambda: conn.push(frame=fetched[2]))
    assert back < 4 * MB, "what came from there is there"
    assert conn.run("frame.loc[[3, 5], ['a', 'c']].to_numpy().diagonal().tolist()").value == [-1.0, -2.0]


def test_what_was_changed_there_comes_back_as_what_changed(
    conn: rpc_magic.Connection, frame: pd.DataFrame
) -> None:
    """A table that was made here and changed there: what is here need not come back."""
    conn.push(frame=frame)
    conn.run("frame.loc[9, 'c'] = 9.0")
    fetched: list[pd.DataFrame] = []
    _, received = traffic(conn, lambda: fetched.append(conn.pull("frame")))
    assert received < 4 * MB
    frame.loc[9, "c"] = 9.0
    pd.testing.assert_frame_equal(fetched[0], frame)


def test_arguments_and_kept_values(conn: rpc_magic.Connection) -> None:
    """`call`, `submit` and `put` share what the session holds; user code may write into its arrays."""
    array = np.random.default_rng(3).random(1_000_000)
    total = array.sum()

    def spoil(numbers: np.ndarray) -> float:
        found = float(numbers.sum())
        numbers[:] = 0
        return found

    assert conn.call(spoil, array) == total
    sent, _ = traffic(
        conn, lambda: [conn.call(spoil, array) == total or pytest.fail("changed") for _ in range(3)]
    )
    assert sent < 64 * KB
    sent, _ = traffic(conn, lambda: conn.submit(spoil, array).result())
    assert sent < 64 * KB
    kept: list[rpc_magic.RemoteValue] = []
    sent, _ = traffic(conn, lambda: kept.append(conn.put(array)))
    assert sent < 64 * KB
    assert (kept[0].get() == array).all()
    assert (array != 0).all()


def test_a_change_in_place_is_noticed(conn: rpc_magic.Connection) -> None:
    """State is judged by content: a change of one byte between two calls reaches the session."""
    array = np.zeros(3_000_000, dtype="u1")
    for place in (0, 1_500_000, 2_999_999):
        array[place] += 1
        assert conn.call(np.sum, array) == array.sum()
        assert conn.call(np.flatnonzero, array).tolist() == np.flatnonzero(array).tolist()


def test_submitted_arguments_may_change_at_once(conn: rpc_magic.Connection) -> None:
    """What `submit` was given is what the call gets, whatever happens to it afterwards, the second time too."""
    array = np.zeros(2_000_000)
    calls = []
    for number in range(6):
        array[:1000] = number
        calls.append(conn.submit(np.max, array))
        array[:] = -1 if number % 2 else 0
    assert [call.result() for call in calls] == list(range(6))


def test_what_never_came_is_not_digested(conn: rpc_magic.Connection) -> None:
    """An array that was born there and stays there costs nothing: cells that use it take no longer for its size."""
    conn.run("import numpy as np; large = np.ones(30_000_000); small = np.ones(3)")
    sent, received = traffic(conn, lambda: conn.run("large[0] = 2; x = large[0]"))
    assert sent + received < 10 * KB
    faults = "import resource; resource.getrusage(resource.RUSAGE_SELF).ru_utime"
    before = conn.run(faults).value
    for _ in range(5):
        conn.run("large[1] += 1")
    assert conn.run(faults).value - before < 1.0


@pytest.mark.parametrize("machine", ["another machine", "this machine"])
def test_a_slow_link_carries_compressed_chunks(monkeypatch: pytest.MonkeyPatch, machine: str) -> None:
    """Far away and slow: what shrinks is compressed, both ways; between processes of one machine nothing ever is."""
    numbers = np.arange(4_000_000) // 1000
    if machine == "another machine":
        monkeypatch.setenv("RPC_MAGIC_MACHINE", "elsewhere")
    with served() as url:
        monkeypatch.delenv("RPC_MAGIC_MACHINE", raising=False)
        record = records.find(url)
        assert record is not None
        with (
            ThrottledLink(("127.0.0.1", int(url.rpartition(":")[2])), rate=20e6, delay=0.015) as link,
            rpc_magic.connect(f"tcp://127.0.0.1:{link.port}", token_file=record.token_file) as conn,
        ):
            assert conn.call(lambda x: int(x.sum()), numbers) == numbers.sum()
            back = conn.call(lambda: __import__("numpy").arange(4_000_000) // 1000 + 1)
            assert back[-1] == 4000
            for way in ("there", "back"):
                assert (link.passed[way] < back.nbytes / 2) == (machine == "another machine"), link.passed
