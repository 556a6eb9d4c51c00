"""What to send before a remote cell.

Decided here, done elsewhere: `plan_automatic` and `plan_explicit` say which variables go, which are watched and which
are deleted. A variable that the cell itself names and that cannot travel is an error before anything runs. One that
only code behind it refers to stays behind: that code may never need it, and where it does, the cell's NameError says
why (`explain_missing`).
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any

from rpc_magic.client import RemoteValue
from rpc_magic.errors import (
    ConnectionLostError,
    MissingNameError,
    RemoteValueError,
    SessionDiedError,
    TransferError,
)
from rpc_magic.namespace import (
    CellNames,
    cell_names,
    holds_any,
    is_bookkeeping,
    parts_of,
    referenced_names,
    references_outside,
    shared_groups,
    with_nested,
)
from rpc_magic.notebook.errors import explain
from rpc_magic.notebook.registry import Registry, Server, address_of
from rpc_magic.notebook.states import is_immutable, state_of

__all__ = [
    "Plan",
    "explain_missing",
    "is_history",
    "names_in",
    "names_named",
    "names_needed",
    "plan_automatic",
    "plan_explicit",
    "reachable",
]


_GLANCE = 2000
"""Objects that are looked at in a variable that the cell does not reach, to find what it shares with those reached."""
_LARGE = 8 << 20
"""Bytes of arrays and tables in a variable that is not sent merely because it shares objects with another."""


@dataclass(frozen=True)
class Plan:
    """What goes to a session before a cell.

    Attributes:
        inputs: variables to set.
        states: their states, to be noted once they are set.
        sizes: bytes of each.
        watch: names whose change shall be reported.
        delete: names to delete.
        reads: names that the cell reads, and those of the code that it can reach.
        left: variables that stay behind, with the reason.
        carry: functions take the globals they refer to with them.
        classes: the classes among the variables, and whether the session takes over their attributes, because these,
            or what shares objects with them, were changed since it got them.
    """

    inputs: dict[str, Any] = field(default_factory=dict)
    states: dict[str, Hashable] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    watch: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    reads: frozenset[str] = frozenset()
    left: dict[str, TransferError] = field(default_factory=dict)
    carry: bool = False
    classes: tuple[tuple[type, bool], ...] = ()

    @property
    def size(self) -> int:
        """Bytes to be sent, about."""
        return sum(self.sizes.values())

    def takes_over(self, kind: type) -> bool | None:
        """Tell whether the session takes over the attributes of a class, as `serial.encode` asks."""
        return next((is_changed for one, is_changed in self.classes if one is kind), None)


def is_history(name: str) -> bool:
    """Tell whether IPython keeps a result or an input under this name; each side keeps its own."""
    return name in {"_", "__", "___"} or (name[:1] == "_" and name[1:].isdecimal())


@functools.lru_cache(8)
def names_in(text: str) -> CellNames:
    """Return the names in transformed text; nothing for text that is no Python, which fails where it runs."""
    try:
        return cell_names(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return CellNames(frozenset(), frozenset(), frozenset(), (), dynamic=False)


def reachable(
    names: Iterable[str], namespace: dict[str, Any], reads: dict[str, frozenset[str]] | None = None
) -> dict[str, Any]:
    """Return everything that code which uses `names` can reach by name, as `rpc_magic.namespace.reach` does.

    Args:
        names: where to start.
        namespace: the notebook's variables.
        reads: names that the code behind a value which is elsewhere may refer to.
    """
    found: dict[str, Any] = {}
    todo = list(dict.fromkeys(names))
    for name in todo:  # grows while it runs: breadth first
        if name in found or name not in namespace:
            continue
        value = namespace[name]
        if is_bookkeeping(name, value):
            continue
        found[name] = value
        if type(value) is RemoteValue:
            more: Iterable[str] = (reads or {}).get(name, ())
        else:
            # A class of it that was changed elsewhere is met through it, whatever name is written.
            classes = (kind.__name__ for kind in type(value).__mro__ if kind.__module__ == "__main__")
            elsewhere = (kind for kind in classes if type(namespace.get(kind)) is RemoteValue)
            more = {*referenced_names(value, namespace), *elsewhere}
        todo.extend(sorted(set(more).difference(found)))
    return found


def names_named(text: str) -> list[str]:
    """Return the names that stand in a cell, given as the shell has transformed it, and are read or asked about."""
    names = names_in(text)
    return sorted(names.reads | names.asks)


def names_needed(text: str, namespace: dict[str, Any]) -> list[str]:
    """Return the names that a cell, given as the shell has transformed it, needs where it runs."""
    return _needed(names_in(text), namespace)


def _needed(names: CellNames, namespace: dict[str, Any]) -> list[str]:
    # Help is asked of what is here, too: it is answered where the cell runs.
    needed = sorted(names.reads | names.asks)
    if names.dynamic or names.asks_all:
        needed += [name for name in namespace if not name.startswith("_")]
    if names.all_outputs:
        needed += [name for name in namespace if name[:1] == "_" and name[1:].isdecimal()]
    return needed


def plan_automatic(
    text: str,
    namespace: dict[str, Any],
    server: Server,
    registry: Registry,
    holders: Collection[Iterable[object]] = (),
) -> Plan:
    """Plan what a cell needs, found from its text.

    Args:
        text: the cell as the shell has transformed it.
        namespace: the notebook's variables.
        server: where it will run.
        registry: knows where values are that are elsewhere.
        holders: what refers to the notebook's values besides its variables, as views: the history of results.

    Raises:
        TransferError: a variable that the cell names cannot travel.
        RemoteValueError: one of them is gone with its session.
    """
    names = names_in(text)
    server.current_ticket()
    values = reachable(_needed(names, namespace), namespace, server.reads)
    # An instance that stays there has its class here: code is met through values, whatever the cell names.
    code = {name for name, value in values.items() if isinstance(value, (type, FunctionType))}
    plan = _Builder(namespace, server, registry)
    plan.consider_all(values, names.reads)
    plan.add_mates(holders)
    return plan.build(names.reads | code)


def plan_explicit(
    names: Iterable[str], namespace: dict[str, Any], server: Server, registry: Registry
) -> Plan:
    """Plan to send exactly these variables.

    Raises:
        MissingNameError: one of them does not exist.
        TransferError, RemoteValueError: as `plan_automatic`.
    """
    wanted = list(dict.fromkeys(names))
    missing = tuple(name for name in wanted if name not in namespace)
    if missing:
        raise MissingNameError(missing, "here")
    server.current_ticket()
    plan = _Builder(namespace, server, registry)
    for name in wanted:
        plan.consider(name, namespace[name], is_named=True)
    return plan.build(frozenset(wanted), carry=True)


class _Builder:
    """A plan in the making."""

    def __init__(self, namespace: dict[str, Any], server: Server, registry: Registry) -> None:
        self._namespace, self._server, self._registry = namespace, server, registry
        self._values: dict[str, Any] = {}
        self._states: dict[str, Hashable] = {}
        self._sizes: dict[str, int] = {}
        self._left: dict[str, TransferError] = {}
        self._groups: list[set[str]] = []

    def consider_all(self, values: dict[str, Any], named: Collection[str]) -> None:
        """Take variables into account, and out of `values`, so that there is one reference less to each."""
        for name in list(values):
            self.consider(name, values.pop(name), is_named=name in named)

    def consider(self, name: str, value: Any, *, is_named: bool) -> None:
        """Take a variable into account; `is_named`: the cell itself mentions it."""
        if type(value) is RemoteValue:
            value = self._elsewhere(name, value, is_named=is_named)
            if value is None:
                return
        if type(value) is RemoteValue:
            state: Hashable = address_of(value)
            size = 64
        else:
            try:
                state, size = state_of(value, self._namespace, name)
            except TransferError as error:
                if is_named:
                    raise
                self._left[name] = error
                return
        self._values[name], self._states[name], self._sizes[name] = value, state, size

    def _elsewhere(self, name: str, value: RemoteValue, *, is_named: bool) -> Any:
        """Return what to send for a value that is elsewhere; None when there is nothing to send."""
        ticket, key = address_of(value)
        if ticket == self._server.ticket:
            return None if key == f"={name}" else value
        owner = self._registry.owner(value)
        if owner is None:
            try:
                return self._registry.here_instead(name, value)
            except RemoteValueError:
                if is_named:
                    raise
                return None
        try:
            fetched = owner.connection.fetch(value)
        except TransferError as error:
            if is_named:
                raise
            self._left[name] = error
            return None
        except (ConnectionLostError, SessionDiedError) as error:
            raise RemoteValueError(f"{name} is on {owner.name} and cannot be fetched: {error}") from error
        if value in self._registry.placed:
            for other, bound in list(self._namespace.items()):
                if bound is value:
                    self._namespace[other] = fetched
        return fetched

    def add_mates(self, holders: Collection[Iterable[object]]) -> None:
        """Take the variables into account that share objects with those taken: a change of one is a change of both.

        So do those that share objects with these, and so on: of what is sent, nothing that the session holds by another
        name may stay behind.
        """
        count = 0
        while count != len(self._values):
            count = len(self._values)
            self._add_next_mates(holders)

    def _add_next_mates(self, holders: Collection[Iterable[object]]) -> None:
        namespace = self._namespace
        known = (self._values.values(), namespace.values(), *holders)
        inside = references_outside(self._values.values(), known)
        if not inside.objects:
            return
        parts = {name: parts_of(value) for name, value in self._values.items() if not is_immutable(value)}
        taken = set(parts)
        near = {name: v for name, v in namespace.items() if inside.shared or id(v) in inside.objects}
        for name, value in near.items():
            if name in taken or name.startswith("_") or is_immutable(value) or is_bookkeeping(name, value):
                continue
            if id(value) in inside.objects or holds_any(value, inside.shared, _GLANCE):
                parts[name] = parts_of(value, _GLANCE)
        self._groups = shared_groups(parts, taken)
        for name in sorted(set().union(*self._groups) - taken):
            if parts[name].size <= _LARGE or self._server.ledger.held(name) is not None:
                self.consider(name, self._namespace[name], is_named=False)

    def build(self, reads: frozenset[str], *, carry: bool = False) -> Plan:
        """Return the plan."""
        ledger = self._server.ledger
        sent = set(ledger.to_send(self._states))
        old = set() if carry else self._bound_anew()  # what the user names is all that goes
        sent |= {name for name in old & self._values.keys() if not is_immutable(self._values[name])}
        # What several names share is sent together, so that it stays shared.
        anew: set[str] = set()
        for group in self._groups:
            if not sent.isdisjoint(group):
                anew |= group & self._values.keys()
        sent |= anew
        shared = {id(self._values[name]) for name in sent if not is_immutable(self._values[name])}
        inputs = {n: v for n, v in self._values.items() if n in sent or id(v) in shared}
        classes = tuple(
            (kind, name in anew or ledger.held(name) != self._states[name])
            for name, value in self._values.items()
            if isinstance(value, type)
            for kind in with_nested(value)
        )
        held = [name for name in self._values if name in inputs or name in ledger.watched([name])]
        return Plan(
            inputs=inputs,
            states={name: self._states[name] for name in inputs},
            sizes={name: self._sizes[name] for name in inputs},
            watch=tuple(held),
            delete=(*ledger.deleted_here(self._namespace), *(old - self._values.keys())),
            reads=reads,
            left=self._left,
            carry=carry,
            classes=classes,
        )

    def _bound_anew(self) -> set[str]:
        """Return the names that hold another object here than when the session got theirs.

        What the session has there shares objects with other variables as it did then, and must not be taken for what
        they hold now, however equal.
        """
        server, namespace = self._server, self._namespace
        return {
            name
            for name in server.ledger.names()
            if name in namespace and not is_history(name) and server.is_bound_anew(name, namespace[name])
        }


def note_sent(server: Server, plan: Plan) -> None:
    """Note that the session holds what the plan sent, and no longer what it deleted."""
    for name, state in plan.states.items():
        if is_history(name):  # the session binds it anew with each result of its own
            continue
        server.ledger.sent(name, state)
        server.anchors.note(name, plan.inputs[name])
        server.reads.pop(name, None)
    for name in plan.delete:
        server.ledger.forget(name)
        server.anchors.forget(name)
        server.reads.pop(name, None)


def explain_missing(error: BaseException, plan: Plan) -> None:
    """Have a remote NameError say why the variable is not there, where it stayed behind because it cannot travel."""
    if isinstance(error, NameError):
        reason = plan.left.get(getattr(error, "name", None) or "")
        if reason is not None:
            explain(error, f"It was not sent: {reason}.")
