"""Attempts to reconnect: when, how often, until when. Nothing here connects anything."""

from __future__ import annotations

import threading
import time

import pytest
from live import eventually

from rpc_magic.client.reconnecting import Reconnecting, Retry, pause_before
from rpc_magic.settings import ClientSettings

FAST = ClientSettings(first_pause=0.001, longest_pause=0.01)


def test_pauses() -> None:
    """None before the first attempt; then they double up to four seconds, and half is left to chance."""
    settings = ClientSettings()
    longest = [pause_before(n, settings, lambda: 0.0) for n in range(1, 12)]
    assert longest[:4] == [0.0, 0.1, 0.2, 0.4]
    assert longest[-1] == 4.0
    assert pause_before(10_000, settings, lambda: 1.0) == 2.0
    assert len({pause_before(5, settings) for _ in range(20)}) > 10


class Net:
    """Comes back at the attempt of that number."""

    def __init__(self, number: int) -> None:
        self.number, self.attempts = number, 0
        self.told: list[Retry | None] = []
        self.reconnecting = Reconnecting(
            FAST, lambda: self.attempts < self.number, self.attempt, self.told.append
        )

    def attempt(self) -> None:
        self.attempts += 1


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
