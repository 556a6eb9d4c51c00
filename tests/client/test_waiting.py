"""Waiting for calls, alone: no server."""

from __future__ import annotations

import signal
import threading

import pytest

from rpc_magic.client.calls import Waiter
from rpc_magic.client.waiting import Hooks, wait_for
from rpc_magic.errors import CallTimeoutError, ConnectionLostError
from rpc_magic.wire import messages


def make_hooks(said):
    return lambda: Hooks(
        lambda message, buffers: said.append(message),
        said.append,
        lambda request, reply: reply(messages.InputReply("typed")),
        lambda: said.append("stop"),
        lambda: said.append("abandon"),
    )


@pytest.mark.parametrize("timeout", [None, 60])
def test_outcome_is_not_lost_when_ctrl_c_strikes_as_it_comes(timeout):
    """The outcome is there although SIGINT was handled just after it had been taken from the queue."""
    for _ in range(20):
        waiter = Waiter()
        waiting = threading.Event()

        def come(waiter=waiter, waiting=waiting):
            waiting.wait()
            # The signal is noted before the main thread wakes, and handled when its `get` returns.
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
            waiter.finish(messages.Returned(), [])

        thread = threading.Thread(target=come)
        thread.start()
        said = []
        try:
            waiting.set()
            end = wait_for(waiter, make_hooks(said), timeout)
            assert isinstance(end.outcome, messages.Returned)
        except KeyboardInterrupt:
            pass  # it struck outside of the wait
        thread.join()


def test_output_prompts_and_the_end():
    """Output is shown in order, a prompt answered, and the outcome returned."""
    waiter, said = Waiter(), []
    waiter.output(messages.Stream("stdout", "a"), [])
    waiter.output(messages.InputRequest("?"), [])
    waiter.output(messages.Stream("stdout", "b"), [])
    waiter.finish(messages.Returned(), [])
    assert wait_for(waiter, make_hooks(said)).outcome == messages.Returned()
    assert said == [
        messages.Stream("stdout", "a"),
        messages.InputReply("typed"),
        messages.Stream("stdout", "b"),
    ]


def test_lost_connection_ends_the_wait():
    """The connection's error is raised."""
    waiter = Waiter()
    waiter.fail(ConnectionLostError("tcp://x"))
    with pytest.raises(ConnectionLostError):
        wait_for(waiter, make_hooks([]))


def test_timeout_interrupts_and_then_gives_up(monkeypatch):
    """After the stated time the call is interrupted; when it does not end it is left alone."""
    monkeypatch.setattr("rpc_magic.client.waiting._GRACE", 0.05)
    said = []
    with pytest.raises(CallTimeoutError, match=r"within 0\.01 s"):
        wait_for(Waiter(), make_hooks(said), 0.01)
    assert said == ["stop", "abandon"]
