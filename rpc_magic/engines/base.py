"""The interface of an engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer

__all__ = ["Done", "Engine", "Task"]

Done = Callable[[int, messages.Outcome, Sequence[Buffer]], None]
"""Takes (task number, outcome, buffers); called once for each task, on the engine's thread."""


class Task(NamedTuple):
    """One task: call the function that `digest` names on each ``(args, kwargs)`` of a list.

    Attributes:
        number: the caller's name for it.
        digest: of the function.
        buffers: a list of ``(args, kwargs)``, encoded.
        plain_results: results are to be plain data.
    """

    number: int
    digest: bytes
    buffers: Sequence[Buffer]
    plain_results: bool = False


class Engine(Protocol):
    """Runs tasks in parallel. All methods are called on one thread."""

    def define(self, digest: bytes, buffers: Sequence[Buffer]) -> None:
        """Take note of a function that tasks will name."""

    def submit(self, task: Task) -> None:
        """Run a task when there is room; its outcome goes to the engine's `Done`."""

    def cancel(self, number: int) -> None:
        """Forget a task that has not begun; interrupt one that runs."""

    def renew(self) -> None:
        """Run what is submitted from now on where none of the user's modules is loaded yet."""

    def close(self) -> None:
        """Give up everything."""
