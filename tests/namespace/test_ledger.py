"""What a session is known to hold."""

from __future__ import annotations

import pytest

from rpc_magic.namespace import REMOTE, Ledger


def test_only_what_differs_is_sent() -> None:
    """Names that are missing or in another state are sent, in the order given."""
    ledger = Ledger()
    ledger.sent("a", b"1")
    ledger.received("b", b"2")
    assert ledger.to_send({"c": b"3", "a": b"1", "b": b"9"}) == ["c", "b"]


def test_remote_values_stay_there() -> None:
    """A value that only the session has is neither sent nor watched; one made here since then is sent."""
    ledger = Ledger()
    ledger.sent("x", b"1")
    ledger.remote("x")
    assert ledger.held("x") is REMOTE
    assert ledger.is_remote("x")
    assert ledger.to_send({"x": REMOTE}) == []
    assert ledger.to_send({"x": b"1"}) == ["x"]
    assert ledger.watched(["x"]) == ()
    ledger.received("x", b"2")
    assert not ledger.is_remote("x")
    assert ledger.to_send({"x": b"2"}) == []


def test_watched_are_those_that_both_hold() -> None:
    """Each name once, in the order given."""
    ledger = Ledger()
    ledger.sent("a", 1)
    ledger.sent("b", 2)
    ledger.remote("c")
    assert ledger.watched(["d", "b", "c", "a", "b"]) == ("b", "a")


def test_deleted_here() -> None:
    """What the kernel no longer has is named until it is forgotten."""
    ledger = Ledger()
    ledger.sent("a", 1)
    ledger.remote("b")
    assert ledger.deleted_here({"z": 0}.keys()) == ("a", "b")
    ledger.forget("a")
    assert ledger.deleted_here(set()) == ("b",)


def test_clear_forgets_everything() -> None:
    """After a restart everything is sent again."""
    ledger = Ledger()
    ledger.sent("a", 1)
    ledger.clear()
    assert ledger.held("a") is None
    assert ledger.to_send({"a": 1}) == ["a"]


def test_versions_only_grow() -> None:
    """Whatever is noted of a name gives it a number that it never had."""
    ledger = Ledger()
    numbers = [ledger.version("a")]
    for step in (
        lambda: ledger.sent("a", 1),
        lambda: ledger.remote("a"),
        ledger.clear,
        lambda: ledger.sent("a", 1),
    ):
        step()
        numbers.append(ledger.version("a"))
    assert numbers == sorted(set(numbers))


def test_none_is_no_state() -> None:
    """None stands for what is not held, so it is refused."""
    with pytest.raises(ValueError, match="None"):
        Ledger().sent("a", None)
