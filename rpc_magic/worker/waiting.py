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


class Waiting(deque[tuple[int, messages.Request, list[memoryview]]]):
    """A queue of calls, each with its request and buffers; whoever reads adds, the main thread takes."""

    def refusal(self, request: messages.Request, limit: int) -> messages.OverLimit | None:
        """Return what a request is answered that is one too many; None for one that has no answer.

        Raises:
            ProtocolError: there are far too many of those, too.
        """
        if type(request) not in _WITHOUT_ANSWER:
            return messages.OverLimit("the queue of the session", len(self) + 1, limit, "calls", "calls")
        if len(self) >= 2 * limit:
            raise ProtocolError("more requests wait than a session takes")
        return None

    def take_back(self, call: int) -> bool:
        """Take a call out of the queue; False when it is not there (any more)."""
        for entry in list(self):
            if entry[0] == call and not isinstance(entry[1], messages.DefineFunction):
                with contextlib.suppress(ValueError):
                    self.remove(entry)
                    return True
        return False
