"""Names for objects that travel by value, so that they are recognised when they come home.

A class sent by value gets a token: the origin of this process and a number. The receiver remembers the token
beside its copy, and sends it along when the copy travels on. A process that meets a token whose object it
knows uses that object; so a class keeps its identity on a round trip, and instances stay instances of it.

An object is named by its identity, never by ``==`` or ``hash``: a metaclass may define both. Entries go with
their objects. After ``fork`` the child is another origin: it renews its own.
"""

from __future__ import annotations

import itertools
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["Registry", "registry", "renew_origin"]


def _reference(thing: Any, when_dead: Callable[[Any], object]) -> Callable[[], Any]:
    """Refer to an object weakly; to one that does not allow it, as a context variable, for good."""
    try:
        return weakref.ref(thing, when_dead)
    except TypeError:
        return lambda: thing


class Registry:
    """Which object has which token, and which tokens are this process's own."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.origin = ""
        self._tokens: dict[int, tuple[Callable[[], Any], str]] = {}
        self._objects: dict[str, Callable[[], Any]] = {}
        self._unfilled: dict[int, weakref.ref[Any]] = {}
        self._numbers = itertools.count(1)
        self.renew()

    def renew(self) -> None:
        """Become another origin; tokens given before stay known but are no longer this process's own."""
        self.lock = threading.RLock()
        self.origin = os.urandom(8).hex() + "."

    def is_own(self, token: str) -> bool:
        """Tell whether this process gave the token."""
        return token.startswith(self.origin)

    def known_token(self, thing: Any) -> str | None:
        """Return the token that an object has, None when it has none."""
        entry = self._tokens.get(id(thing))
        return entry[1] if entry is not None and entry[0]() is thing else None

    def token(self, thing: Any) -> str:
        """Return an object's token, giving it one when it has none.

        Args:
            thing: the object; one that cannot be weakly referenced is kept.
        """
        known = self.known_token(thing)
        if known is None:
            with self.lock:
                known = self.known_token(thing)
                if known is None:
                    known = f"{self.origin}{next(self._numbers)}"
                    self._enter(known, thing)
        return known

    def home_token(self, namespace: dict[str, Any]) -> str:
        """Return the token of functions whose globals are a namespace of this process."""
        return f"{self.origin}h{id(namespace):x}"

    def find(self, token: str) -> Any:
        """Return the living object of a token, else None."""
        reference = self._objects.get(token)
        return None if reference is None else reference()

    def track(self, token: str, thing: Any) -> Any:
        """Remember an object that came with a token.

        Returns:
            The object known under the token: an older one when there is one alive, else `thing`.
        """
        with self.lock:
            older = self.find(token)
            if older is not None:
                return older
            self._enter(token, thing)
            return thing

    def note_origin(self, token: str, thing: Any) -> None:
        """Remember where an object came from, without making it findable by the token."""
        key = id(thing)
        self._tokens[key] = (_reference(thing, lambda _: self._tokens.pop(key, None)), token)

    def mark_unfilled(self, thing: Any) -> None:
        """Note that an object has just been made and waits for its state."""
        key = id(thing)
        self._unfilled[key] = weakref.ref(thing, lambda _: self._unfilled.pop(key, None))

    def is_unfilled(self, thing: Any) -> bool:
        """Tell whether an object waits for its state."""
        reference = self._unfilled.get(id(thing))
        return reference is not None and reference() is thing

    def take_unfilled(self, thing: Any) -> bool:
        """Tell whether an object waits for its state, and note that it now gets it."""
        reference = self._unfilled.pop(id(thing), None)
        return reference is not None and reference() is thing

    def _enter(self, token: str, thing: Any) -> None:
        self.note_origin(token, thing)
        self._objects[token] = _reference(thing, lambda _: self._objects.pop(token, None))


registry = Registry()
"""The process's one registry: tokens are a fact about a process."""


def renew_origin() -> None:
    """Become another origin, as after a fork (which does this by itself)."""
    registry.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renew_origin)
