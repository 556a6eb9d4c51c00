"""Attempts to reconnect: when, how often, until when. Nothing here connects anything."""

from __future__ import annotations

import threading
import time

import pytest
from live import eventually

from rpc_magic.client.reconnecting import Reconnecting, Retry, pause_before
from rpc_magic.settings import ClientSettings

FAST = ClientSettings(first_pause=0.001, longest_pause=0.01, steady_seconds=60.0)


def test_pauses() -> None:
    """None before the first attempt; then they double up to four seconds, and half is left to chance."""
    settings = ClientSettings()
    longest = [pause_before(n, settings, lambda: 0.0) for n in range(1, 12)]
    assert longest[:4] == [0.0, 0.1, 0.2, 0.4]
    assert longest[-1] == 4.0
    assert pause_before(10_000, settings, lambda: 1.0) == 2.0
    assert len({pause_before(5, settings) for _ in range(20)}) > 10


class Net:
    """Comes back at the attempt of that number; those in `broken` connect what breaks at once."""

    def __init__(self, number: int, broken: range = range(0), settings: ClientSettings = FAST) -> None:
        self.number, self.broken, self.attempts = number, broken, 0
        self.told: list[Retry | None] = []
        self.reconnecting = Reconnecting(
            settings, lambda: self.attempts < self.number, self.attempt, self.told.append
        )

    def attempt(self) -> bool:
        self.attempts += 1
        return self.attempts in self.broken or self.attempts >= self.number


def test_until_it_is_back() -> None:
    """It is tried until nothing is missing; each attempt is told with its number and moment, then the end."""
    net = Net(5)
    net.reconnecting.start()
    net.reconnecting.start()
    eventually(lambda: net.told and net.told[-1] is None)
    assert net.attempts == 5
    assert {retry.attempt for retry in net.told if retry} == {1, 2, 3, 4, 5}
    assert all(abs(retry.at - time.monotonic()) < 60 for retry in net.told if retry)
    net.number = 7
    net.reconnecting.start()
    eventually(lambda: net.attempts == 7)
    net.reconnecting.end()


@pytest.mark.parametrize(
    ("steady", "numbers"), [(60.0, [1, 2, 3, 4, 2, 2, 2, 3]), (0.0, [1, 2, 3, 4, 1, 1, 1, 2])]
)
def test_what_breaks_when_it_is_made(steady: float, numbers: list[int]) -> None:
    """Pauses stop growing once something was connected; where that had lived, there is none before the next attempt."""
    settings = ClientSettings(first_pause=0.001, longest_pause=0.01, steady_seconds=steady)
    net = Net(8, range(4, 7), settings)
    net.reconnecting.start()
    eventually(lambda: net.told and net.told[-1] is None)
    begun = [retry.attempt for retry in net.told[1::2] if retry]
    assert begun == numbers
    net.reconnecting.end()


def test_a_cut_soon_after_a_cut() -> None:
    """What breaks soon after it was connected has a pause before its first attempt too: there is no storm."""
    net = Net(1)
    for number in (1, 2):
        net.number = number
        net.told.clear()
        net.reconnecting.start()
        eventually(lambda: net.told and net.told[-1] is None)
        assert net.told[1].attempt == number
    net.reconnecting.end()


@pytest.mark.parametrize("is_started", [True, False])
def test_end(is_started: bool) -> None:
    """`end` is heard at once, in a pause too; later starts do nothing; it leaves no thread."""
    threads = threading.active_count()
    net = Net(1 << 30)
    if is_started:
        net.reconnecting.start()
        eventually(lambda: net.attempts > 2)
    began = time.monotonic()
    net.reconnecting.end()
    net.reconnecting.end()
    assert time.monotonic() - began < 5
    attempts = net.attempts
    net.reconnecting.start()
    assert net.attempts == attempts
    assert threading.active_count() == threads
