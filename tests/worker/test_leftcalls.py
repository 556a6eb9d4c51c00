"""The numbers of calls across clients, and what is kept of calls whose client has gone."""

from __future__ import annotations

from dataclasses import dataclass

from rpc_magic.wire import messages
from rpc_magic.worker.leftcalls import LeftCalls


@dataclass
class Said:
    call: int
    size: int = 10
    is_output: bool = True
    is_end: bool = False


def begun(*cells: str) -> LeftCalls:
    """Return the calls of a client whose cells have come, numbered from 1."""
    calls = LeftCalls(limit=1000)
    calls.leave([])
    for call, source in enumerate(cells, 1):
        calls.open(calls.inside(call), messages.RunCell(source))
    return calls


def test_numbers() -> None:
    """Clients count from 1; inside no two calls have the same number; 0 is no call's."""
    calls = begun("a")
    first = calls.inside(1)
    assert calls.outside(first) == 1
    calls.leave([])
    second = calls.inside(1)
    assert second != first
    assert (calls.outside(second), calls.outside(first)) == (1, None)
    assert calls.inside(0) == calls.outside(0) == calls.on_page(0) == 0
    assert calls.on_page(first) not in {0, 1}


def test_left_calls_are_listed() -> None:
    """Cells and functions that nobody has received the end of, the oldest first, each with its first line."""
    calls = begun("\n  x = 1  \ny", "z" * 100)
    running = calls.inside(1)
    calls.open(calls.inside(3), messages.CallFunction(b"digest"))
    calls.open(calls.inside(4), messages.Pull(("x",)))
    calls.leave([Said(2), Said(2, is_output=False, is_end=True), Said(4)])
    assert [(one.number, one.label, one.state) for one in calls.listing(running).calls] == [
        (1, "x = 1", "running"),
        (2, "z" * 60, "ended"),
        (3, "a function", "waiting"),
    ]


def test_what_was_received_is_left_too() -> None:
    """A new client gets what the earlier one had received of a call that runs; of one that has ended nothing."""
    calls = begun("a", "b")
    seen, unseen, ended = Said(1), Said(1), Said(2, is_output=False, is_end=True)
    assert calls.note_received(seen) == []
    assert calls.close(2) == []
    assert calls.note_received(ended) == [ended]
    assert calls.leave([unseen]) == []
    left = calls.follow(1, 7)
    assert left is not None
    assert left.kept.take() == ([seen, unseen], 0)
    assert calls.follow(1, 8) is None
    assert calls.listing(0).calls == ()


def test_following() -> None:
    """Whoever follows a call knows it by a number of its own, and leaves it like any other."""
    calls = begun("a")
    inside = calls.inside(1)
    calls.leave([])
    assert calls.outside(inside) is None
    assert calls.follow(1, 5) is not None
    assert (calls.outside(inside), calls.inside(5), calls.on_page(inside)) == (5, inside, 5)
    calls.leave([Said(5, is_output=False, is_end=True)])
    assert [one.state for one in calls.listing(0).calls] == ["ended"]
    assert calls.follow(1, 9) is not None
    calls.close(9)
    assert calls.listing(0).calls == ()
    assert calls.outside(calls.inside(9)) == 9


def test_long_output() -> None:
    """Of what a left call shows the last is kept, and what is dropped is counted; its end is never dropped."""
    calls = begun("a")
    inside = calls.inside(1)
    calls.leave([])
    unused = []
    for _ in range(1000):
        unused += calls.say(inside, Said(inside))
    unused += calls.say(inside, Said(inside, is_output=False, is_end=True))
    left = calls.follow(1, 1)
    assert left is not None
    said, dropped = left.kept.take()
    assert len(said) + len(unused) == 1001
    assert len(said) <= 101
    assert dropped == 10 * len(unused)
    assert said[-1].is_end


def test_long_output_that_was_received() -> None:
    """Of what the client has received of a call that runs, the last is kept too, and no more."""
    calls = begun("a")
    unused = [one for _ in range(1000) for one in calls.note_received(Said(1))]
    calls.leave([])
    left = calls.follow(1, 1)
    assert left is not None
    said, dropped = left.kept.take()
    assert (len(said), len(unused), dropped) == (100, 900, 9000)
