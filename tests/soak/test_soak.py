"""Minutes of random calls with random cuts, interrupts, deaths and server restarts: nothing is lost or run twice.

``pytest -m soak`` takes ten minutes; RPC_MAGIC_SOAK_SECONDS says another time, RPC_MAGIC_SOAK_SEED repeats a run's
choices (what happens when is the machine's).
"""

from __future__ import annotations

import gc
import os
import random
import secrets
import threading
import time
from pathlib import Path

import psutil
import pytest
from checks import Server
from clients import Client
from live import SECONDS, all_gone, eventually, family
from proxy import proxied

LENGTH = float(os.environ.get("RPC_MAGIC_SOAK_SECONDS", "600"))
CLIENTS = 4
FAILS = 0.1
"""One read in ten fails, of those that the network between the clients and the server does."""


def _memory() -> int:
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def _trouble(server: Server, seed: str, until: float, pids: set[int]) -> None:
    """Kill the supervisor and start it again, over and over."""
    rng = random.Random(seed)
    while (wait := rng.uniform(4, 12)) < until - time.monotonic():
        time.sleep(wait)
        pids |= family(server.process.pid)
        server.process.kill()
        server.process.wait()
        time.sleep(rng.choice((0.0, 0.5)))
        server.start()


@pytest.mark.soak
@pytest.mark.timeout(LENGTH + 20 * SECONDS)
def test_soak(tmp_path: Path) -> None:
    """Every call is accounted for exactly once, outputs are those of a calm run, and nothing is left behind."""
    seed = os.environ.get("RPC_MAGIC_SOAK_SEED") or secrets.token_hex(4)
    print(f"the seed is {seed}")
    runtime = Path(os.environ["RPC_MAGIC_RUNTIME_DIR"])
    began = psutil.Process().num_fds(), threading.active_count()
    pids: set[int] = set()
    server = Server(tmp_path, "--port", "0", "--name", "soak")
    size = server.size()
    try:
        with proxied(server.url) as proxy:
            clients = [
                Client(f"soak{n}", f"{seed} {n}", proxy.url, server.token_file, tmp_path / f"ledger{n}")
                for n in range(CLIENTS)
            ]
            for client in clients:
                client.cell()  # a calm one: what is expected is what it shows
            luck = random.Random(f"{seed} cuts")
            proxy.fails = lambda: luck.random() < FAILS
            until = time.monotonic() + LENGTH
            threads = [threading.Thread(target=client.run, args=(until,)) for client in clients]
            for thread in threads:
                thread.start()
            middle = threading.Timer(LENGTH / 2, lambda: sizes.append(_memory()))
            sizes: list[int] = []
            middle.start()
            _trouble(server, f"{seed} server", until, pids)
            for thread in threads:
                thread.join(3 * SECONDS)
            assert not any(thread.is_alive() for thread in threads), f"one hangs; seed {seed}; {clients}"
            proxy.fails = bool
            sizes.append(_memory())
            _account(clients, seed)
            for client in clients:
                client.conn.close()
            pids |= family(server.process.pid)
            # A session has two descriptors in the supervisor, and an earlier keeper one.
            most = size[0] + 3 * CLIENTS
            eventually(lambda: server.size()[0] <= most and server.size()[1] == size[1], "its usual size")
            cuts, calls = proxy.connections, sum(len(client.got) for client in clients)
            deaths = sum(client.deaths for client in clients)
    finally:
        server.stop()
    all_gone(pids)
    print(
        f"{calls} calls over {cuts} connections, {deaths} deaths; memory {[size >> 20 for size in sizes]} MiB"
    )
    assert sizes[-1] < sizes[0] + 50_000_000, f"memory grows: {sizes}; seed {seed}"
    eventually(lambda: (psutil.Process().num_fds(), threading.active_count()) <= began, f"{began} again")
    left = {path.name for path in runtime.rglob("*") if not path.is_dir() and path.parent.name != "tokens"}
    assert not left, f"files are left: {left}; seed {seed}"


def _account(clients: list[Client], seed: str) -> None:
    for client in clients:
        if client.error is not None:
            raise AssertionError(f"a client failed; seed {seed}") from client.error
        client.check()
