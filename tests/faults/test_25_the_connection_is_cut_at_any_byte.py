"""Row 25: the connection is cut at any byte; calls run once, output is complete, in order, nothing doubled."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from checks import Server, unharmed
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from live import SECONDS, eventually, within
from proxy import Proxy

import rpc_magic
from rpc_magic import errors
from rpc_magic.client import waiting

np = pytest.importorskip("numpy")

budget = st.one_of(st.integers(1, 400), st.integers(1, 5_000), st.integers(1, 400_000))
SETUP = "count = 0\ndef bump():\n    global count\n    count += 1\n    return count\n"


def there(name: str) -> object:
    """Call a function of the session's own."""
    from IPython import get_ipython

    return get_ipython().user_ns[name]()


def connect(server: Server, proxy: Proxy, **options: str) -> rpc_magic.Connection:
    return rpc_magic.connect(proxy.url, token_file=server.token_file, **options)


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
    ],  # cuts come at moments of their own: shrinking is no use
)
@given(budgets=st.lists(st.tuples(budget, budget), min_size=1, max_size=8))
def test_any_cuts(server: Server, proxy: Proxy, budgets: list[tuple[int, int]]) -> None:
    """Invariant: whatever bytes the connections are cut at, the same is counted, printed and returned as without."""
    with connect(server, proxy) as conn:
        conn.run(SETUP)
        proxy.schedule(budgets)
        shown: list[str] = []
        for n in range(1, 4):
            source = f"for i in range(100): print({n}, i, 'x' * 50)\nbump()"
            result = conn.run(source, on_output=lambda message: shown.append(getattr(message, "text", "")))
            assert result.value == n
        want = "".join(f"{n} {i} {'x' * 50}\n" for n in range(1, 4) for i in range(100))
        assert "".join(shown) == want
        array = np.arange(40_000.0)
        assert (conn.call(lambda a: a + 1, array) == array + 1).all()
        calls = [conn.submit(lambda i: there("bump") * 1000 + i, i) for i in range(20)]
        assert [call.result(60) for call in calls] == [(n + 4) * 1000 + n for n in range(20)]
        assert conn.run("count").value == 23


@pytest.mark.parametrize("way", [0, 1])
def test_each_byte_of_a_call(server: Server, proxy: Proxy, way: int) -> None:
    """Cut at each of the bytes of a small call's connection, in either direction: it runs once."""
    with connect(server, proxy) as conn:
        conn.run(SETUP)
        for n in range(1, 60):
            limits = [proxy.UNLIMITED, proxy.UNLIMITED]
            limits[way] = n * 7
            proxy.schedule([(limits[0], limits[1])] * 2)
            assert conn.run("bump()").value == n


def test_large_values(server: Server, proxy: Proxy) -> None:
    """Arrays that travel in chunks arrive whole when they are cut on their way, and another time in mid-air."""
    array = np.random.default_rng(1).random(3_000_000)
    with connect(server, proxy) as conn:
        for at in (1_000, 2_000_000, 20_000_000):
            proxy.schedule([(at, proxy.UNLIMITED)] * 2)
            assert conn.call(lambda a: float(a.sum()), array) == pytest.approx(float(array.sum()))
            array[0] += 1
            proxy.schedule([(proxy.UNLIMITED, at)] * 2)
            assert (conn.call(lambda a: a * 2, array) == array * 2).all()


def test_large_values_on_a_network_that_breaks_all_the_time(server: Server, proxy: Proxy) -> None:
    """An array arrives, in either direction, though no connection carries a fifth of it."""
    array = np.random.default_rng(1).random(2_000_000)
    with connect(server, proxy) as conn:
        for way in (0, 1):
            limits = [proxy.UNLIMITED, proxy.UNLIMITED]
            limits[way] = 3_000_000
            proxy.schedule([(limits[0], limits[1])] * 1000)
            if way == 0:
                there = conn.submit(lambda a: float(a.sum()), array).result(SECONDS)
                assert there == pytest.approx(float(array.sum()))
            else:
                back = conn.submit(lambda n: __import__("numpy").random.default_rng(2).random(n), array.size)
                assert (back.result(SECONDS) == np.random.default_rng(2).random(array.size)).all()
            proxy.schedule([])


def test_arguments_that_change_after_they_were_submitted(server: Server, proxy: Proxy) -> None:
    """`submit` returns when its caller may change the arguments, whatever happens to the connection then."""
    with connect(server, proxy) as conn:
        conn.call(abs, 1)
        for size in (10, 50_000, 1_000_000):
            array = np.ones(size)
            busy = conn.submit(time.sleep, 0.2)
            call = conn.submit(lambda a: float(a.sum()), array)
            array[:] = 7
            proxy.cut()
            assert call.result(60) == size
            assert busy.result(60) is None


def test_results_that_change_after_they_were_returned(server: Server, proxy: Proxy) -> None:
    """A result that is on its way is what it was when its call ended, whatever later calls do to the object."""
    with connect(server, proxy) as conn:
        conn.run("import numpy as np\na = np.zeros(1_000_000)\ndef get(): return a\ndef step(): a[:] += 1\n")
        for n in range(3):
            proxy.refuse(False)
            eventually(lambda: conn.state == "attached")
            slow = conn.submit(lambda: (time.sleep(0.3), there("get"))[1])
            steps = [conn.submit(there, "step") for _ in range(2)]
            eventually(lambda: conn.info().state == "busy")
            proxy.refuse(True)
            time.sleep(0.5)
            proxy.refuse(False)
            assert (slow.result(60) == 2 * n).all()
            assert [one.result(60) for one in steps] == [None, None]


def test_the_state_is_shown(server: Server, proxy: Proxy) -> None:
    """While it is cut, the connection says that it reconnects, at which attempt, and when the next one begins."""
    with unharmed(server, "came back"), connect(server, proxy) as conn:
        call = conn.submit(time.sleep, 0.1)
        proxy.refuse(True)
        eventually(lambda: conn.state == "reconnecting")
        retry = eventually(lambda: (one := conn.attachment.retry) and one.attempt > 2 and one)
        assert retry.at - time.monotonic() < 5
        assert conn.info().state == "reconnecting"
        with pytest.raises(errors.ConnectionLostError, match="being made again"):
            conn.restart()
        queued = conn.submit(abs, -5)
        proxy.refuse(False)
        assert (call.result(60), queued.result(60)) == (None, 5)
        eventually(lambda: conn.state == "attached")
        assert conn.attachment.retry is None


def test_stop_while_it_is_cut(server: Server, proxy: Proxy) -> None:
    """An interrupt that is given while the connection is cut reaches the call when it is back."""
    with connect(server, proxy) as conn:
        call = conn.submit(time.sleep, 600)
        eventually(lambda: conn.info().state == "busy")
        proxy.refuse(True)
        eventually(lambda: conn.state == "reconnecting")
        assert call.cancel()
        proxy.refuse(False)
        eventually(lambda: conn.state == "attached" and conn.info().state == "idle")
        assert conn.call(abs, -1) == 1


def test_stop_that_is_lost(server: Server, proxy: Proxy) -> None:
    """An interrupt that was on its way when the connection was cut is given again."""
    with connect(server, proxy) as conn:
        call = conn.submit(time.sleep, 600)
        eventually(lambda: conn.info().state == "busy")
        proxy.flows.clear()
        assert call.cancel()
        proxy.cut()
        proxy.flows.set()
        eventually(lambda: conn.state == "attached" and conn.info().state == "idle")
        assert conn.call(abs, -1) == 1


def test_stop_of_a_call_that_is_waited_for_no_longer(
    server: Server, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call whose time was over while the connection was cut is interrupted when that is back, not left to run."""
    monkeypatch.setattr(waiting, "GRACE", 0.1)
    with connect(server, proxy) as conn:

        def cut(_: object) -> None:
            proxy.refuse(True)
            eventually(lambda: conn.state == "reconnecting")

        with pytest.raises(errors.CallTimeoutError):
            conn.run("import time\nprint('begun')\ntime.sleep(600)", on_output=cut, timeout=1)
        proxy.refuse(False)
        eventually(lambda: conn.state == "attached" and conn.info().state == "idle")
        assert conn.call(abs, -1) == 1


def test_a_prompt_outlives_a_cut(server: Server, proxy: Proxy) -> None:
    """A call that asks the user goes on waiting, and gets the answer."""
    with connect(server, proxy) as conn:

        def answer(request, reply):
            proxy.cut()
            eventually(lambda: conn.state == "attached")
            reply(rpc_magic.wire.messages.InputReply("Ada"))

        conn.exchange.ask = answer
        assert conn.run("name = input('who? ')\nname").value == "Ada"


def test_closing_while_it_is_cut(server: Server, proxy: Proxy) -> None:
    """close() ends a connection that is being made again, and its calls with it."""
    with connect(server, proxy) as conn:
        call = conn.submit(time.sleep, 600)
        proxy.refuse(True)
        eventually(lambda: conn.state == "reconnecting")
        with within(5):
            conn.close()
        with pytest.raises(errors.RpcMagicError, match="closed"):
            call.result(SECONDS)


def test_stop_for_whatever_runs_while_it_is_cut(server: Server, proxy: Proxy, tmp_path: Path) -> None:
    """It is meant for the call that runs then: when that has ended before the connection is back, no other is hit."""
    first, second = tmp_path / "first", tmp_path / "second"
    wait = "import pathlib, time\nwhile not pathlib.Path({!r}).exists(): time.sleep(0.01)\n"
    with connect(server, proxy) as conn:
        meant = conn.submit(exec, wait.format(str(first)))
        later = conn.submit(
            exec, f"open({str(first)!r} + '.begun', 'w').close()\n" + wait.format(str(second))
        )
        eventually(lambda: conn.info().state == "busy")
        proxy.refuse(True)
        eventually(lambda: conn.state == "reconnecting")
        conn.interrupt()
        first.touch()
        eventually((tmp_path / "first.begun").exists)
        proxy.refuse(False)
        eventually(lambda: conn.state == "attached")
        assert conn.info().state == "busy"
        second.touch()
        assert (meant.result(60), later.result(60)) == (None, None)
