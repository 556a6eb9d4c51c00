"""Row 25, by TLS: cut within its handshake, within a record, anywhere: calls run once, output is complete."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from checks import Server, serving, unharmed
from proxy import Proxy

import rpc_magic

np = pytest.importorskip("numpy")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with TLS."""
    with serving(tmp_path_factory.mktemp("server"), "--tls", "--port", "0") as one:
        yield one


@pytest.mark.parametrize("way", [0, 1])
def test_small_calls(server: Server, proxy: Proxy, way: int) -> None:
    """Cut in the handshake of TLS, in ours, and in the frames after it, in either direction."""
    with unharmed(server), rpc_magic.connect(proxy.url, token_file=server.token_file) as conn:
        conn.run("count = 0\ndef bump():\n    global count\n    count += 1\n    return count\n")
        shown: list[str] = []
        for n in range(1, 13):
            limits = [proxy.UNLIMITED, proxy.UNLIMITED]
            limits[way] = n * 170
            proxy.schedule([(limits[0], limits[1])] * 2)
            source = f"for i in range(50): print({n}, i)\nbump()"
            result = conn.run(source, on_output=lambda message: shown.append(getattr(message, "text", "")))
            assert result.value == n
        assert "".join(shown) == "".join(f"{n} {i}\n" for n in range(1, 13) for i in range(50))


def test_large_values(server: Server, proxy: Proxy) -> None:
    """Arrays arrive whole when they are cut on their way, within any record."""
    array = np.random.default_rng(1).random(1_000_000)
    with rpc_magic.connect(proxy.url, token_file=server.token_file) as conn:
        for at in (10_000, 1_000_003, 7_900_001):
            proxy.schedule([(at, proxy.UNLIMITED)] * 2)
            assert conn.call(lambda a: float(a.sum()), array) == pytest.approx(float(array.sum()))
            array[0] += 1
            proxy.schedule([(proxy.UNLIMITED, at)] * 2)
            assert (conn.call(lambda a: a * 2, array) == array * 2).all()
