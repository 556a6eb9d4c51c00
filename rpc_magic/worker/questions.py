"""Questions of a session to its client about modules: asked by whatever thread imports, which waits for the answer.

Usually the helper thread reads the answer. It does not yet watch when a call has just begun, nor between calls, where
tasks of the user's may import too: so the one who waits reads as well, from time to time.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable

from rpc_magic.wire import messages

__all__ = ["Answered", "Questions"]

Answered = tuple[messages.ModuleFound, list[memoryview]]

_READ_SECONDS = 0.002


class Questions:
    """See the module's text. Thread-safe.

    Args:
        send: sends a message that belongs to no call.
        read: takes in what has come; returns at once.
        is_attached: tells whether a client is there, or may come back.
    """

    def __init__(
        self,
        send: Callable[[messages.Message], None],
        read: Callable[[], None],
        is_attached: Callable[[], bool],
    ) -> None:
        self._send, self._read, self._is_attached = send, read, is_attached
        self._numbers = itertools.count(1)
        self._answers: dict[int, Answered | None] = {}
        self._changed = threading.Condition()
        self._clients = 0

    def ask(self, name: str, paths: tuple[str, ...] = ()) -> Answered | None:
        """Ask for a module, or for files of it; None when no client is there (any more).

        Raises:
            KeyboardInterrupt: Stop was pressed.
        """
        number, clients = next(self._numbers), self._clients
        self._answers[number] = None
        try:
            self._send(messages.FindModule(number, name, paths))
            while self._is_attached() and clients == self._clients:
                with self._changed:
                    answered = self._answers[number] or (
                        self._changed.wait(_READ_SECONDS) and self._answers[number]
                    )
                if answered:
                    return answered
                self._read()
            return None
        finally:
            del self._answers[number]

    def note_new_client(self) -> None:
        """Another client is there, which was not asked."""
        self._clients += 1

    def take(self, answer: messages.ModuleFound, buffers: list[memoryview]) -> None:
        """Whoever reads: an answer has come."""
        with self._changed:
            if answer.number in self._answers:
                self._answers[answer.number] = answer, buffers
            self._changed.notify_all()
