"""The queue of a session: what has room in it, alone."""

from __future__ import annotations

import pytest

from rpc_magic.errors import ProtocolError
from rpc_magic.wire import messages
from rpc_magic.worker.waiting import Waiting

CALL, DEFINE = messages.CallFunction(b"f"), messages.DefineFunction(b"f")
OTHER = messages.ModulesChanged(())
LIMIT = 5


def fill(queue: Waiting, request: messages.Request) -> int:
    """Add a request until it is not admitted; return how often it was."""
    for count in range(100_000):
        if not queue.admits(request, LIMIT):
            return count
        queue.append((count, request, []))
    raise AssertionError("there is no end of room")


def test_calls() -> None:
    """As many calls as the limit says; one that was taken, or taken back, makes room for one."""
    queue = Waiting()
    assert fill(queue, CALL) == LIMIT
    assert queue.refusal(LIMIT).size == LIMIT + 1
    queue.take()
    assert fill(queue, CALL) == 1
    assert queue.take_back(3)
    assert not queue.take_back(3)
    assert fill(queue, CALL) == 1


def test_functions_take_no_place_of_calls() -> None:
    """Nor calls that of functions; of these there may be many more, and one too many is left out."""
    queue = Waiting()
    assert fill(queue, CALL) == LIMIT
    assert fill(queue, DEFINE) >= 1000
    while queue:
        queue.take()
    assert fill(queue, DEFINE) >= 1000
    assert fill(queue, CALL) == LIMIT


def test_what_cannot_be_left_out() -> None:
    """Others without an answer are taken though functions have filled their room; a flood breaks the protocol."""
    queue = Waiting()
    fill(queue, DEFINE)
    assert queue.admits(OTHER, LIMIT)
    with pytest.raises(ProtocolError):
        fill(queue, OTHER)
