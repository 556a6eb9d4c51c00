"""Widgets made there: their comms pass through this kernel."""

from __future__ import annotations

import comm
import pytest
from comm.base_comm import BaseComm

from rpc_magic.errors import RpcMagicError
from rpc_magic.notebook.relay import Relay, is_on_page
from rpc_magic.wire import messages


class FakeComm(BaseComm):
    """A comm whose page is a list."""

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        self.__dict__.setdefault("page", []).append((msg_type, data, keys.get("target_name"), buffers))


class FakeConnection:
    """Keeps what is sent to the session."""

    def __init__(self):
        self.sent, self.is_gone = [], False
        self.attachment = self

    def link(self, _role):
        if self.is_gone:
            raise RpcMagicError("gone")
        return self

    def send(self, call, message, buffers):
        self.sent.append((call, message, list(buffers)))


@pytest.fixture
def made(monkeypatch):
    """The comms that are made here."""
    comms = []

    def create(**arguments):
        comms.append(FakeComm(**arguments))
        return comms[-1]

    monkeypatch.setattr(comm, "create_comm", create)
    return comms


def say(relay, kind, comm_id, data, *buffers):
    views = [memoryview(bytearray(b)) for b in buffers]
    relay.take(messages.CommMessage(kind, comm_id, data, {}, "jupyter.widget"), views)


def test_messages_pass_both_ways(made):
    """Open, update with binary buffers, an answer of the page, and close."""
    connection = FakeConnection()
    relay = Relay(connection)
    say(relay, "comm_open", "m1", {"state": 1}, b"pixels")
    assert is_on_page("m1")
    say(relay, "comm_msg", "m1", {"state": 2}, b"more")
    [one] = made
    assert [(kind, data, buffers) for kind, data, _, buffers in one.page] == [
        ("comm_open", {"state": 1}, [b"pixels"]),
        ("comm_msg", {"state": 2}, [b"more"]),
    ]
    one.handle_msg({"content": {"data": {"method": "update"}}, "metadata": {"a": 1}, "buffers": [b"x"]})
    expected = messages.CommMessage("comm_msg", "m1", {"method": "update"}, {"a": 1})
    assert connection.sent == [(0, expected, [b"x"])]
    say(relay, "comm_close", "m1", {})
    assert one.page[-1][0] == "comm_close"
    assert not is_on_page("m1")


def test_unknown_and_broken_are_passed_over(made):
    """A message for no comm, and a page that fails, end nothing."""
    relay = Relay(FakeConnection())
    say(relay, "comm_msg", "nobody", {})
    say(relay, "comm_open", "m2", {})

    def fail(*_, **__):
        raise OSError("the page is gone")

    made[0].publish_msg = fail
    say(relay, "comm_msg", "m2", {})
    assert is_on_page("m2")
    relay.close()
    assert not is_on_page("m2")


def test_a_session_that_is_gone_hears_nothing(made):
    """What the page says to a dead session is dropped; closing the relay closes its widgets."""
    connection = FakeConnection()
    relay = Relay(connection)
    say(relay, "comm_open", "m3", {})
    connection.is_gone = True
    made[0].handle_msg({"content": {"data": {}}})
    assert connection.sent == []
    relay.close()
    assert made[0].page[-1][0] == "comm_close"
