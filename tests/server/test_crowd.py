"""Who has to go: one of the fullest address, the silent before those that have spoken, the oldest of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rpc_magic.server.crowd import Newcomer, origin_of, who_goes


def test_the_oldest_silent_one_goes() -> None:
    """On one address the oldest that has said nothing goes; when all have spoken, the oldest."""
    owner, first, second = Newcomer("a", has_spoken=True), Newcomer("a"), Newcomer("a")
    assert who_goes([owner, first, second, *fresh()]) is first
    assert who_goes([owner, Newcomer("a", has_spoken=True), *fresh()]) is owner


def fresh() -> list[Newcomer]:
    """Return connections that have come just now."""
    return [Newcomer("a", has_spoken=True) for _ in range(100)]


def test_one_that_has_just_come_may_be_silent() -> None:
    """Where all of a flood say hello at once, its oldest goes, and not the owner whose hello is on its way."""
    flood = fresh()
    assert who_goes([*flood, Newcomer("a")]) is flood[0]


def test_a_flood_closes_its_own() -> None:
    """However many come from one address, those of another stay, silent or not."""
    owner = Newcomer("home")
    flood = [Newcomer("flood", has_spoken=True) for _ in range(100)]
    assert who_goes([owner, *flood]) is flood[0]


@given(st.lists(st.builds(Newcomer, st.sampled_from("abc"), st.booleans()), min_size=1))
def test_invariant(newcomers: list[Newcomer]) -> None:
    """Invariant: no address has more than that of the one who goes, and no older one of it was silent."""
    gone = who_goes(newcomers)
    origins = [one.origin for one in newcomers]
    assert origins.count(gone.origin) == max(map(origins.count, origins))
    crowd = [one for one in newcomers if one.origin == gone.origin]
    assert not [one for one in crowd[: crowd.index(gone)][:-64] if not one.has_spoken]


@pytest.mark.parametrize(
    ("peer", "origin"),
    [
        (("127.0.0.1", 5), "127.0.0.1"),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1"),
        (("2001:db8:0:1::5", 5, 0, 0), "2001:db8:0:1::/64"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::/64"),
        ("", "this machine"),
    ],
)
def test_origins(peer: object, origin: str) -> None:
    """IPv4 is counted by address, however it is written; IPv6 by network; a Unix socket is one."""
    assert origin_of(peer) == origin
