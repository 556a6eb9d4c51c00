"""What a link knows of the calls it carries."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from rpc_magic.wire import messages

__all__ = ["Listener", "Transfer"]


class Transfer(NamedTuple):
    """How far the objects of a call have come.

    Attributes:
        is_upload: they are sent, else received.
        done, total: bytes.
    """

    is_upload: bool
    done: int
    total: int


class Listener(Protocol):
    """A call, as its link knows it. Its methods are called on the I/O thread, or on a thread that leads.

    Attributes:
        call: its id.
        waits: its caller waits, and takes what comes in order: the messages of widgets among what the call shows.
    """

    call: int
    waits: bool

    @property
    def is_full(self) -> bool:
        """What it shows is taken more slowly than it comes."""

    @property
    def has_events(self) -> bool:
        """Something has come for it."""

    def output(self, message: messages.Output | messages.CommMessage, buffers: list[memoryview]) -> None:
        """Something the call shows."""

    def hurry(self) -> None:
        """It was stopped: what it has shown must not hold its end up. Any thread."""

    def finish(self, outcome: messages.Outcome, buffers: list[memoryview]) -> None:
        """The end of the call."""

    def fail(self, error: Exception) -> None:
        """The call's end will not come."""
