"""What one session is known to hold, by name and state."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Final

__all__ = ["REMOTE", "Ledger"]


class _Remote:
    """The state of a value of which the kernel holds no copy."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "REMOTE"


REMOTE: Final = _Remote()
"""State of a name whose newest value is in the session only; give it for a name that is still so here."""


class Ledger:
    """What one session is known to hold, by name and state.

    A state is an opaque hashable that stands for a value's content, made by the caller; equal states mean
    equal values. The ledger only remembers: it is told of a value once the session has confirmed it, so a
    call that failed on its way leaves it as it was. One ledger serves one session; of several servers each
    has its own, and a value that came from one is thereby known to be old in the others.

    Not thread-safe: it belongs to the thread that runs the kernel's cells.
    """

    __slots__ = ("_states", "_versions")

    def __init__(self) -> None:
        self._states: dict[str, Hashable] = {}
        self._versions: dict[str, int] = {}

    def __repr__(self) -> str:
        remote = sum(state is REMOTE for state in self._states.values())
        return f"<Ledger: {len(self._states)} names, {remote} of them only in the session>"

    def held(self, name: str) -> Hashable | None:
        """Return the state in which both sides hold `name`, `REMOTE`, or None if the session lacks it."""
        return self._states.get(name)

    def names(self) -> list[str]:
        """Return the names that the session holds."""
        return list(self._states)

    def is_remote(self, name: str) -> bool:
        """Return whether the newest value of `name` is in the session only."""
        return self._states.get(name) is REMOTE

    def version(self, name: str) -> int:
        """Return how often something was noted for `name`: a later number means that it may have changed.

        It goes on counting over `forget` and `clear`, so a number kept from before them is never met again.
        """
        return self._versions.get(name, 0)

    def sent(self, name: str, state: Hashable) -> None:
        """Note that the session now holds the kernel's value of `name`."""
        self._note(name, state)

    def received(self, name: str, state: Hashable) -> None:
        """Note that the kernel now holds the session's value of `name`."""
        self._note(name, state)

    def remote(self, name: str) -> None:
        """Note that the newest value of `name` is in the session, and the kernel has only a `RemoteValue`."""
        self._note(name, REMOTE)

    def forget(self, name: str) -> None:
        """Note that the session no longer holds `name`, or that what it holds is unknown."""
        if self._states.pop(name, None) is not None:
            self._versions[name] = self.version(name) + 1

    def clear(self) -> None:
        """Note that the session started anew and holds nothing."""
        for name in list(self._states):
            self.forget(name)

    def to_send(self, states: Mapping[str, Hashable]) -> list[str]:
        """Return the names that the session lacks or holds in another state, in the order of `states`.

        Args:
            states: the kernel's values by name; `REMOTE` for a name that holds this session's `RemoteValue`.
        """
        held = self._states
        return [name for name, state in states.items() if name not in held or held[name] != state]

    def watched(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return those of `names` whose value both sides hold: the session shall say when it changes them."""
        states = self._states
        return tuple(name for name in dict.fromkeys(names) if states.get(name, REMOTE) is not REMOTE)

    def deleted_here(self, present: Collection[str]) -> tuple[str, ...]:
        """Return the names that the session holds and the kernel, which has `present`, no longer does.

        After they were deleted in the session, `forget` each.
        """
        return tuple(name for name in self._states if name not in present)

    def _note(self, name: str, state: Hashable) -> None:
        if state is None:
            msg = f"the state of {name!r} is None, which stands for a value that is not held"
            raise ValueError(msg)
        self._states[name] = state
        self._versions[name] = self.version(name) + 1
