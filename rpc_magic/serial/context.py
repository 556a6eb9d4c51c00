"""What the running decode knows: the namespace to bind to, how to answer references, what to undo.

Constructors on the wire (`rpc_magic.serial.build`) take their surroundings from here. A decode belongs to one
thread and may start another one inside itself (a ``__setstate__`` that loads something), so they form a
stack.
"""

from __future__ import annotations

import builtins
import threading
from collections.abc import Callable
from typing import Any, Self

from rpc_magic.errors import RemoteValueError

__all__ = ["Decoding", "Resolve", "current", "reference"]

Resolve = Callable[[str, str], object]
"""Answers a reference: ``resolve(session, key)`` gives the value."""

_MISSING = object()


class Decoding:
    """One running decode; a context manager that undoes its changes to the namespace when it fails.

    Args:
        namespace: the receiver's global namespace, None when it has none.
        resolve: answers references, None when there can be none.
    """

    __slots__ = ("_changes", "_outer", "fresh", "namespace", "resolve")

    def __init__(self, namespace: dict[str, Any] | None, resolve: Resolve | None) -> None:
        self.namespace = namespace
        self.resolve = resolve
        self.fresh: dict[int, dict[str, Any]] = {}
        self._changes: list[tuple[dict[str, Any], str, Any]] = []
        self._outer: Decoding | None = None

    def __enter__(self) -> Self:
        self._outer = getattr(_running, "decoding", None)
        _running.decoding = self
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        _running.decoding = self._outer
        if kind is not None:
            for target, name, old in reversed(self._changes):
                if old is _MISSING:
                    target.pop(name, None)
                else:
                    target[name] = old

    def fresh_globals(self, start: dict[str, Any]) -> dict[str, Any]:
        """Make globals for functions that bring their own; this decode knows them as its own work."""
        made = {"__builtins__": builtins, **start}
        self.fresh[id(made)] = made
        return made

    def home_globals(self) -> dict[str, Any]:
        """Return the receiver's namespace; without one, a fresh dict shared within this decode."""
        if self.namespace is None:
            self.namespace = self.fresh_globals({"__name__": "__main__"})
        return self.namespace

    def bind(self, target: dict[str, Any], values: dict[str, Any]) -> None:
        """Set carried globals, remembering what they replace."""
        if id(target) not in self.fresh:
            for name in values:
                self._changes.append((target, name, target.get(name, _MISSING)))
        target.update(values)


_running = threading.local()


def current() -> Decoding:
    """Return the running decode of this thread; a bare one when none runs (as in ``pickle.loads``)."""
    decoding: Decoding | None = getattr(_running, "decoding", None)
    return Decoding(None, None) if decoding is None else decoding


def reference(session: str, key: str) -> object:
    """Give the value that is kept here under a key; stands in a stream in the place of the value.

    Args:
        session: the session that keeps it.
        key: its key there.

    Returns:
        Whatever the running decode's `resolve` answers.

    Raises:
        RemoteValueError: the running decode answers no references.
    """
    resolve = current().resolve
    if resolve is None:
        raise RemoteValueError(
            f"the value {key!r} of session {session!r} is elsewhere and cannot be used here; "
            "its .get() fetches it where it was made"
        )
    return resolve(session, key)
