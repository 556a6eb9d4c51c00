"""Interrupts that a cut may have lost: whom they are said to again."""

from __future__ import annotations

import pytest

from rpc_magic.client.stops import Stops
from rpc_magic.wire.handshake import Role


class Calls(dict):
    """Links of which only the session's has calls; `pending` are those that have not ended."""

    def __init__(self) -> None:
        super().__init__()
        self[Role.DATA] = self
        self.pending: list[int] = []

    @property
    def oldest(self) -> int:
        return min(self.pending, default=0)

    @property
    def is_busy(self) -> bool:
        return bool(self.pending)

    def has(self, call: int) -> bool:
        return call in self.pending


@pytest.fixture
def links() -> Calls:
    """Links without calls."""
    return Calls()


@pytest.mark.parametrize("is_cut", [True, False])
@pytest.mark.parametrize("call", [0, 3])
def test_the_call_that_was_meant(links: Calls, call: int, is_cut: bool) -> None:
    """It is said again for that call, as long as it has not ended, and for no other one."""
    stops = Stops(links)
    links.pending = [3, 4]
    stops.note(call, is_cut=is_cut)
    assert stops.take() == (3,)
    assert stops.take() == (3,), "the connection may be cut again before it has arrived"
    links.pending = [4]
    assert stops.take() == ()


def test_what_an_earlier_client_has_left(links: Calls) -> None:
    """With no call of ours, what runs there is meant; once, and not when there is a call of ours by then."""
    stops = Stops(links)
    stops.note(0, is_cut=True)
    assert stops.take() == (0,)
    assert stops.take() == ()
    stops.note(0, is_cut=True)
    links.pending = [7]
    assert stops.take() == ()
    links.pending = []
    assert stops.take() == ()


def test_what_was_said(links: Calls) -> None:
    """With a connection, and nothing of ours under way, there is nothing to say again."""
    stops = Stops(links)
    stops.note(0, is_cut=False)
    assert stops.take() == ()
