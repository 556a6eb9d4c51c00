"""The requests that wait in a session, in the order of the wire, and those that are refused or taken back."""

from __future__ import annotations

import contextlib
from collections import deque

from rpc_magic.errors import ProtocolError
from rpc_magic.wire import messages

__all__ = ["CANCELLED", "Waiting"]

_WHY = "cancelled before it began"
CANCELLED = messages.Failed(
    # Made beforehand: whoever reads must not render a traceback, which imports, and an import may wait for the client.
    messages.ErrorRecord(
        "interrupt",
        "KeyboardInterrupt",
        _WHY,
        f"KeyboardInterrupt: {_WHY}\n",
        (f"KeyboardInterrupt: {_WHY}",),
    )
)
_WITHOUT_ANSWER = frozenset(
    {messages.DefineFunction, messages.Configure, messages.ModulesChanged, messages.Libraries}
)
_OTHERS = 1000
"""Requests without an answer that may wait, beside one for each call: a call that is refused has sent one, too."""


class Waiting(deque[tuple[int, messages.Request, list[memoryview]]]):
    """A queue of calls, each with its request and buffers; whoever reads adds, the main thread takes.

    Requests that have no answer, as a definition of a function that a call uses, are no calls and do not count as
    such. Of the two counters each has one writer, so that none is lost between threads.
    """

    def __init__(self) -> None:
        super().__init__()
        self._added = self._taken = 0

    def admits(self, request: messages.Request, limit: int) -> bool:
        """Tell whether there is room for a request, which is then to be added; of calls there is for `limit`.

        A function that is not admitted is asked for when it is called, and the client defines it again.

        Raises:
            ProtocolError: there are far too many of those that have no answer.
        """
        calls = self._added - self._taken
        if type(request) not in _WITHOUT_ANSWER:
            self._added += calls < limit
            return calls < limit
        rest = limit + _OTHERS - (len(self) - calls)
        if type(request) is messages.DefineFunction:
            return rest > 0
        if rest <= -_OTHERS:
            raise ProtocolError("more requests wait than a session takes")
        return True

    def refusal(self, limit: int) -> messages.OverLimit:
        """Return what a call is answered that is not admitted."""
        calls = self._added - self._taken
        return messages.OverLimit("the queue of the session", calls + 1, limit, "calls", "calls")

    def take(self) -> tuple[int, messages.Request, list[memoryview]]:
        """Main thread: return what comes next.

        Raises:
            IndexError: nothing is left; another thread has taken it back just now.
        """
        entry = self.popleft()
        self._taken += type(entry[1]) not in _WITHOUT_ANSWER
        return entry

    def take_back(self, call: int) -> bool:
        """Take a call out of the queue; False when it is not there (any more)."""
        for entry in list(self):
            if entry[0] == call and not isinstance(entry[1], messages.DefineFunction):
                with contextlib.suppress(ValueError):
                    self.remove(entry)
                    self._added -= 1
                    return True
        return False
