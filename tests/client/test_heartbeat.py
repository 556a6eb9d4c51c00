"""When a silent server is taken for gone; on a clock of the test's own."""

from __future__ import annotations

from rpc_magic.client.heartbeat import Heartbeat, clock
from rpc_magic.settings import ClientSettings


class Server:
    """Counts pings and cuts; answers pings while it `is_well`."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pings, self.cuts, self.is_well = 0, [], True
        self.heart = Heartbeat(
            ClientSettings(), self.ping, lambda: self.cuts.append(self.now), lambda: self.now
        )

    def ping(self) -> None:
        self.pings += 1
        if self.is_well:
            self.heart.heard()

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1
            self.heart.beat()


def test_pings() -> None:
    """A server that answers is pinged every five seconds and never cut."""
    server = Server()
    server.run(100)
    assert server.pings == 20
    assert server.cuts == []


def test_silence() -> None:
    """One that falls silent is cut within 40 seconds, and once for each silence."""
    server = Server()
    server.run(10)
    server.is_well = False
    server.run(35)
    assert len(server.cuts) == 1
    assert server.cuts[0] - 1010 < 30


def test_waking() -> None:
    """After an hour of sleep it is pinged at once; a connection that has not survived is cut within 5 seconds."""
    server = Server()
    server.run(10)
    server.is_well = False
    server.now += 3600
    pings = server.pings
    server.heart.beat()
    assert server.pings == pings + 1
    server.run(5)
    assert len(server.cuts) == 1


def test_waking_with_a_connection_that_lives() -> None:
    """One that has survived the sleep is kept."""
    server = Server()
    server.now += 3600
    server.run(100)
    assert server.cuts == []


def test_the_wall_clock_does_not_matter() -> None:
    """The clock has nothing to do with the time of day: it goes on by itself, from the machine's start."""
    assert 0 <= clock() - clock() + 1 <= 1
