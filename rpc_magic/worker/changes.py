"""What a cell did to the session's variables: bound, changed in place, deleted.

A binding is seen by identity. A change in place is looked for only where it matters, in the variables whose value
the client holds too and that the cell can reach: their state, the digest of what would be sent, is taken before and
after.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import xxhash

from rpc_magic import serial
from rpc_magic.namespace import (
    holds_any,
    identities_within,
    is_bookkeeping,
    parts_of,
    references_outside,
    shared_groups,
)

__all__ = ["TOGETHER", "Before", "Changes", "State", "state_of"]

TOGETHER = 32 << 20
"""Bytes of arrays, tables and containers in variables that share objects, up to which they are fetched together."""

_IMMUTABLE = frozenset(
    {
        *(type(None), bool, int, float, complex, str, bytes, range, slice),
        types.ModuleType,
    }
)


_GLANCE = 2000
"""Objects that are looked at in a variable that did not change, to find what it shares with those that did."""


_OLDER_RESULTS = frozenset({"__", "___"})
"""Bound anew with every result, to what was bound before."""


def _is_result(name: str) -> bool:
    return name in {"_", "__", "___"} or (name[:1] == "_" and name[1:].isdecimal())


def _is_immutable(value: object) -> bool:
    """Tell whether a value never changes; a function is so without cells, attributes, and defaults that change."""
    if isinstance(value, types.FunctionType):
        defaults = (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
        is_simple = not value.__closure__ and not value.__dict__
        return is_simple and all(type(default) in _IMMUTABLE for default in defaults)
    if isinstance(value, type):
        return value.__module__ != "__main__"
    if isinstance(value, types.BuiltinFunctionType):  # a method of a container leads to it
        return value.__self__ is None or isinstance(value.__self__, types.ModuleType)
    return type(value) in _IMMUTABLE


def state_of(value: object, namespace: dict[str, Any]) -> bytes | None:
    """Return a digest of a value's content, or None when it cannot be taken."""
    try:
        buffers = serial.encode(value, namespace=namespace, carry=False)
    except Exception:  # noqa: BLE001 - __reduce__ of user classes may raise anything
        return None
    digest = xxhash.xxh3_128()
    for buffer in buffers:
        digest.update(len(buffer).to_bytes(8, "little"))
        digest.update(buffer)
    return digest.digest()


State = tuple[bytes | None, int]
"""The digest of a variable's value, and a number that stands for the objects that it consists of."""


def _state_and_objects(value: object, namespace: dict[str, Any]) -> State:
    return state_of(value, namespace), identities_within(value)


@dataclass(frozen=True)
class Changes:
    """What a cell did to the variables.

    Attributes:
        bound: those that were bound, with their values.
        mutated: those that were changed in place, and `mates`.
        mates: those that are as they were and share objects with others that are told.
        deleted: those that are gone.
    """

    bound: dict[str, object]
    mutated: dict[str, object]
    mates: dict[str, object]
    deleted: tuple[str, ...]

    @property
    def values(self) -> dict[str, object]:
        """All that have a value."""
        return {**self.mutated, **self.bound}


class Before:
    """The variables as they are before a cell runs.

    Args:
        namespace: the session's.
        watch: names whose value the client holds too, and that the cell can reach.
        told: states of variables as the client was last told, by name; kept up to date here. What a thread has changed
            since is told with this cell's changes.
        unknown: names that the client was never told of: they count as bound by the cell.
    """

    def __init__(
        self,
        namespace: dict[str, Any],
        watch: Iterable[str],
        told: dict[str, State] | None = None,
        unknown: Iterable[str] = (),
    ) -> None:
        self._namespace = namespace
        self._told: dict[str, State] = {} if told is None else told
        values = dict(namespace)
        for name in unknown:
            values.pop(name, None)
        self._values: Mapping[str, object] = values
        watched = {name: namespace[name] for name in watch if name in namespace}
        self._states = {
            name: self._told.get(name) or _state_and_objects(value, namespace)
            for name, value in watched.items()
            if not _is_immutable(value)
        }
        self._functions = {
            name: value
            for name, value in watched.items()
            if name not in self._states and isinstance(value, types.FunctionType)
        }

    def changes(self, limit: int) -> Changes:
        """Return what has become of the variables; `limit` as for `mates`."""
        mutated, bound = self.mutated(), self.bound()
        for name in bound:
            self._told.pop(name, None)
        mates = self.mates(mutated, bound, limit)
        return Changes(bound, {**mutated, **mates}, mates, self.deleted())

    def bound(self) -> dict[str, object]:
        """Return the variables that were bound since, with their values."""
        missing = object()
        return {
            name: value
            for name, value in list(self._namespace.items())
            if self._values.get(name, missing) is not value and not is_bookkeeping(name, value)
        }

    def mutated(self) -> dict[str, object]:
        """Return the watched variables that are bound as before and whose value was changed in place."""
        changed = {}
        for name, before in self._states.items():
            value = self._namespace.get(name)
            if name not in self._namespace or value is not self._values[name]:
                continue
            now = self._told[name] = _state_and_objects(value, self._namespace)
            if now[0] is None or now != before:
                changed[name] = value
        given_attributes = {
            name: function
            for name, function in self._functions.items()
            if self._namespace.get(name) is function and not _is_immutable(function)
        }
        return changed | given_attributes

    def mates(
        self, mutated: Mapping[str, object], bound: Mapping[str, object], limit: int
    ) -> dict[str, object]:
        """Return the variables that are as before and share objects with changed ones, or with such, and so on.

        They come back with these, so that what the client makes of them shares the same objects; those that it has no
        copy of are among them.

        Args:
            mutated: the variables whose value was changed in place.
            bound: those that were bound.
            limit: bytes of arrays, tables and containers in a variable from which on it is left where it is.
        """
        found: dict[str, object] = {}
        while new := self._next_mates(mutated, bound, found, limit):
            found.update(new)
        return found

    def _next_mates(
        self,
        mutated: Mapping[str, object],
        bound: Mapping[str, object],
        found: Mapping[str, object],
        limit: int,
    ) -> dict[str, object]:
        told = {**mutated, **bound, **found}
        changed = {name: value for name, value in told.items() if name not in _OLDER_RESULTS}
        del told  # each holder but those known would count as one that shares
        known = (changed, mutated, bound, found, self._namespace, self._values)
        inside = references_outside(changed.values(), [one.values() for one in known])
        if not inside.objects:
            return {}
        parts = {name: parts_of(value) for name, value in changed.items()}
        near = {n: v for n, v in self._namespace.items() if inside.shared or id(v) in inside.objects}
        for name, value in near.items():
            if name in changed or _is_result(name) or _is_immutable(value) or is_bookkeeping(name, value):
                continue
            if id(value) in inside.objects or holds_any(value, inside.shared, _GLANCE):
                parts[name] = parts_of(value, _GLANCE)
        together = set().union(*shared_groups(parts, changed)).difference(changed)
        return {name: near[name] for name in sorted(together) if parts[name].size <= limit}

    def deleted(self) -> tuple[str, ...]:
        """Return the names that are gone."""
        return tuple(
            name for name, value in self._values.items()
            if name not in self._namespace and not is_bookkeeping(name, value)
        )  # fmt: skip
