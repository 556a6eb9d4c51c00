"""Waiting for calls, alone: no server."""

from __future__ import annotations

import signal
import threading

import pytest

from rpc_magic.client.calls import Waiter
from rpc_magic.client.waiting import Hooks, wait_for
from rpc_magic.errors import CallTimeoutError, ConnectionLostError, SessionDiedError
from rpc_magic.wire import messages


def make_hooks(said, *, has_session=True):
    return lambda: Hooks(
        lambda message, buffers: said.append(message),
        said.append,
        lambda request, reply: reply(messages.InputReply("typed")),
        lambda: said.append("stop"),
        lambda: said.append("told"),
        lambda: False,
        lambda: said.append("told away"),
        lambda reason: said.append("end") or has_session,
        lambda: said.append("abandon"),
        lambda: False,
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


@pytest.fixture
def hasty(monkeypatch):
    """Times that tests need not wait for."""
    monkeypatch.setattr("rpc_magic.client.waiting.GRACE", 0.05)
    monkeypatch.setattr("rpc_magic.client.waiting._END_SECONDS", 0.05)


class PressesStop(list):
    """Notes what is said, and presses Stop when it is one of `at`."""

    def __init__(self, *at):
        super().__init__()
        self.at = at

    def append(self, word):
        super().append(word)
        if word in self.at:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("hasty")
def test_timeout_interrupts_and_then_ends_the_session():
    """After the stated time the call is interrupted; when it does not end its session is, and the error says so."""
    said = []
    with pytest.raises(CallTimeoutError, match=r"within 0\.01 s.*session was ended") as caught:
        wait_for(Waiter(), make_hooks(said), 0.01)
    assert said == ["stop", "end", "abandon"]
    assert caught.value.is_session_ended


@pytest.mark.usefixtures("hasty")
def test_timeout_of_a_call_without_a_session():
    """A function that a program exposes is interrupted, and left alone when it does not end."""
    said = []
    with pytest.raises(CallTimeoutError) as caught:
        wait_for(Waiter(), make_hooks(said, has_session=False), 0.01)
    assert said == ["stop", "end", "abandon"]
    assert not caught.value.is_session_ended


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("has_session", [True, False])
def test_a_second_stop_once_told(has_session):
    """Who presses Stop once is told that the call is deaf; the next Stop ends the session, or the wait."""
    said = PressesStop("told")
    with pytest.raises(KeyboardInterrupt):
        wait_for(Waiter(), make_hooks(said, has_session=has_session), is_stopped=True)
    assert said == ["stop", "told", "end", "abandon"]


@pytest.mark.usefixtures("hasty")
def test_the_death_of_a_session_that_was_ended_is_the_interrupt():
    """The waiting cell gets KeyboardInterrupt, whose cause says what became of the session."""
    waiter = Waiter()
    said = PressesStop("told")
    hooks = make_hooks(said)()

    def end(reason):
        waiter.fail(SessionDiedError("s", reason))
        return True

    with pytest.raises(KeyboardInterrupt) as caught:
        wait_for(waiter, lambda: hooks._replace(end=end), is_stopped=True)
    assert "it was stopped, and its code did not listen" in str(caught.value.__cause__)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("is_back", [False, True])
def test_stop_while_the_server_cannot_be_reached(is_back):
    """The call is not called deaf; a second Stop ends no session but the wait, or is one more when it is back."""
    waiter, said = Waiter(), PressesStop("told away")
    hooks = make_hooks(said)()

    def stop():
        said.append("stop")
        if "told away" in said:
            waiter.finish(messages.Returned(), [])

    def is_away():
        return not (is_back and "told away" in said)

    hooks = hooks._replace(stop=stop, is_away=is_away)
    if is_back:
        end = wait_for(waiter, lambda: hooks, is_stopped=True)
        assert isinstance(end.outcome, messages.Returned)
    else:
        with pytest.raises(KeyboardInterrupt):
            wait_for(waiter, lambda: hooks, is_stopped=True)
    assert said == ["stop", "told away", "stop" if is_back else "abandon"]


def test_ctrl_c_of_a_process_that_is_to_end_leaves_the_call_alone():
    """It is not stopped, and whoever asks for it later gets it."""
    said = []
    hooks = make_hooks(said)()
    with pytest.raises(KeyboardInterrupt):
        wait_for(Waiter(), lambda: hooks._replace(is_leaving=lambda: True), is_stopped=True)
    assert said == []


def test_stop_before_the_call_is_known_to_be_deaf():
    """It interrupts once more: code that swallowed the first interrupt may heed the next."""
    waiter, said = Waiter(), []
    hooks = make_hooks(said)()

    def stop():
        said.append("stop")
        if len(said) == 1:
            waiter.output(messages.Stream("stdout", "a"), [])
        else:
            waiter.finish(messages.Returned(), [])

    def show(message, buffers):
        raise KeyboardInterrupt

    end = wait_for(waiter, lambda: hooks._replace(stop=stop, show=show), is_stopped=True)
    assert isinstance(end.outcome, messages.Returned)
    assert said == ["stop", "stop"]
