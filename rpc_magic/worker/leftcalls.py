"""The numbers of calls, and the calls whose client has gone.

Each client counts its calls anew. Inside the session a call has a number of its own, its client's number plus a base
that rises with each client, so that code that runs on is never taken for a call of the next client.

What a call of an earlier client has said, and nobody has received, is kept here until a client follows that call.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import Protocol

from rpc_magic.wire import messages

__all__ = ["CALLS", "LeftCall", "LeftCalls", "Said"]

CALLS = frozenset({messages.RunCell, messages.CallFunction})
"""Requests whose end somebody may ask for later."""

_CLIENTS = 1 << 32
"""Distance of the bases of two clients: more calls than one makes."""

_NOBODY = (1 << 64) - 1
"""What stands on the status page for a call that belongs to no client that is there."""

_LABEL = 60
"""Characters of a cell that tell which one it was."""


class Said(Protocol):
    """Something that a call has said."""

    call: int
    is_output: bool
    is_end: bool

    @property
    def size(self) -> int:
        """Bytes in memory."""


class _Kept:
    """What a call has said; of the output in memory the last so many bytes."""

    def __init__(self) -> None:
        self.said: deque[Said] = deque()
        self.dropped = 0
        self._sizes: deque[int] = deque()  # when they were added
        self._size = 0

    def add(self, said: Said, limit: int) -> list[Said]:
        """Keep one more; return those that are dropped for it."""
        self.said.append(said)
        self._sizes.append(said.size)
        self._size += said.size
        unused: list[Said] = []
        while self._size > limit and len(self.said) > 1 and self.said[0].is_output:
            unused.append(self.said.popleft())
            size = self._sizes.popleft()
            self._size -= size
            self.dropped += size
        return unused

    def join(self, later: _Kept) -> None:
        """Keep what another one has kept, after the rest."""
        self.said += later.said
        self._sizes += later._sizes
        self.dropped += later.dropped
        self._size += later._size

    def take(self) -> tuple[list[Said], int]:
        """Give away all that is kept, and how many bytes were dropped before it."""
        taken = list(self.said), self.dropped
        self.said.clear()
        self._sizes.clear()
        self.dropped = self._size = 0
        return taken


class LeftCall:
    """A call whose client has gone.

    Attributes:
        number: by which clients ask for it.
        label: tells which one it was.
        kept: what it has said that nobody has received.
        is_over: it has ended.
    """

    def __init__(self, number: int, label: str) -> None:
        self.number, self.label = number, label
        self.kept = _Kept()
        self.is_over = False


class LeftCalls:
    """See the module's text. Not thread-safe.

    Args:
        limit: bytes of output in memory that are kept of one call.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._base = 0
        self._numbers = itertools.count(1)
        self._open: dict[int, messages.Message] = {}  # calls of this client that have not ended for it
        self._left: dict[int, LeftCall] = {}
        self._shown: dict[int, _Kept] = {}  # what they have shown and the client has received
        self._followed: dict[int, int] = {}  # number at the client, by that of a left call
        self._following: dict[int, int] = {}

    def inside(self, call: int) -> int:
        """Return the number in the session of a call that the client knows as `call`; 0 stays 0."""
        if not self._following:  # most calls
            return call and call + self._base
        return call and (self._following.get(call) or call + self._base)

    def outside(self, call: int) -> int | None:
        """Return the number at the client of a call; None when it is none of its calls."""
        if call >= self._base or not call:
            return call and call - self._base
        return self._followed.get(call)

    def on_page(self, call: int) -> int:
        """Return what stands for a call on the status page."""
        return call and (self.outside(call) or _NOBODY)

    def open(self, call: int, request: messages.Message) -> None:
        """A call has come; its number is the one inside."""
        self._open[call] = request

    def note_received(self, said: Said) -> list[Said]:
        """The client has received this; return what is of no further use."""
        call = self.inside(said.call)
        if not said.is_output or (call not in self._open and call not in self._left):
            return [said]
        return self._shown.setdefault(call, _Kept()).add(said, self._limit)

    def close(self, call: int) -> list[Said]:
        """The client has received the end of a call; return what is of no further use."""
        inside = self.inside(call)
        self._open.pop(inside, None)
        if not self._left and not self._shown:  # most calls
            return []
        self._left.pop(inside, None)
        if self._following.pop(call, None):
            self._followed.pop(inside, None)
        shown = self._shown.pop(inside, None)
        return list(shown.said) if shown is not None else []

    def leave(self, kept: list[Said]) -> list[Said]:
        """Another client is there: keep what nobody has received; return what is of no use to anybody."""
        for call, request in self._open.items():
            label = _label(request)
            if label:
                self._left[call] = LeftCall(next(self._numbers), label)
        unused: list[Said] = []
        for call, shown in self._shown.items():
            left = self._left.get(call)
            if left is None:
                unused += shown.said
            else:
                left.kept.join(shown)
        for said in kept:
            unused += self.say(self.inside(said.call), said)
        self._open.clear()
        self._shown.clear()
        self._followed.clear()
        self._following.clear()
        self._base += _CLIENTS
        return unused

    def say(self, call: int, said: Said) -> list[Said]:
        """A left call says something; return what is of no further use."""
        left = self._left.get(call)
        if left is None:
            return [said]
        left.is_over = left.is_over or said.is_end
        return left.kept.add(said, self._limit)

    def ended(self) -> list[LeftCall]:
        """Return the left calls that have ended and that nobody follows."""
        return [left for call, left in self._left.items() if left.is_over and call not in self._followed]

    def readmit(self, label: str) -> tuple[int, LeftCall]:
        """Take in a call that ended in an earlier session; return its number here, below those of all clients."""
        number = next(self._numbers)
        left = self._left[number] = LeftCall(number, label)
        left.is_over = True
        return number, left

    @property
    def base(self) -> int:
        """What the client's numbers have to be raised by to be those of the session."""
        return self._base

    def shown(self) -> list[Said]:
        """Return what calls that have not ended have shown, and the client has received."""
        return [said for kept in self._shown.values() for said in kept.said]

    def all(self) -> tuple[messages.CallInfo, ...]:
        """Return all calls that have not ended for their client, by the numbers under which they speak."""
        mine = [messages.CallInfo(call, _label(request), "") for call, request in self._open.items()]
        left = [
            messages.CallInfo(
                self._followed[call] + self._base if call in self._followed else call, one.label, ""
            )
            for call, one in self._left.items()
        ]
        return (*left, *mine)

    def inherit(self, label: str) -> int:
        """Take in a call of a session that has died; return its number here, below those of all clients."""
        number = next(self._numbers)
        self._left[number] = LeftCall(number, label)
        return number

    def listing(self, running: int) -> messages.CallList:
        """Return what there is to say of them; `running` is the number of the call that runs."""
        return messages.CallList(
            tuple(
                messages.CallInfo(
                    left.number,
                    left.label,
                    "ended" if left.is_over else "running" if call == running else "waiting",
                )
                for call, left in self._left.items()
                if call not in self._followed
            )
        )

    def follow(self, number: int, call: int) -> LeftCall | None:
        """Make a left call the client's own call of that number; None when there is none that nobody follows."""
        for inside, left in self._left.items():
            if left.number == number and inside not in self._followed:
                self._followed[inside], self._following[call] = call, inside
                return left
        return None


def _label(request: messages.Message) -> str:
    """Return what tells a user which call it was; empty for one that nobody asks for later."""
    if isinstance(request, messages.CallFunction):
        return "a function"
    if not isinstance(request, messages.RunCell):
        return ""
    lines = [line.strip() for line in request.source.splitlines() if line.strip()] or ["an empty cell"]
    return lines[0][:_LABEL]
