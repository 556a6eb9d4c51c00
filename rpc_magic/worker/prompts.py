"""Questions of the session's code to its user: what `input()` asks, answered by the client."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from rpc_magic.wire import messages

__all__ = ["Prompts"]


class Prompts:
    """See the module's text.

    Args:
        send: sends a message for a call; waits while the connection is full.
    """

    def __init__(self, send: Callable[[int, messages.Message], None]) -> None:
        self._send = send
        self._answers: dict[int, deque[messages.InputReply]] = {}
        self._answered = threading.Condition()

    def ask(self, call: int, prompt: str, password: bool) -> str:
        """Ask the user for a line; interruptible.

        Raises:
            EOFError: nobody can be asked.
        """
        with self._answered:
            answers = self._answers[call] = deque()
        self._send(call, messages.InputRequest(prompt, password))
        try:
            with self._answered:
                while not answers:
                    self._answered.wait()
                reply = answers.popleft()
        finally:
            self._answers.pop(call, None)
        if reply.error:
            raise EOFError(reply.error)
        return reply.text

    def take(self, call: int, reply: messages.InputReply) -> None:
        """Whoever reads: the user has answered."""
        with self._answered:
            self._answers.setdefault(call, deque()).append(reply)
            self._answered.notify_all()
