"""What a remote cell did to its variables, done here.

A value that came is bound, into the existing object where that was changed in place there; for one that stayed a
placeholder is bound, which `rpc_magic.notebook.mention` fetches when a cell mentions it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from rpc_magic.client import RemoteValue
from rpc_magic.client.running import Run
from rpc_magic.errors import TransferError
from rpc_magic.namespace import REMOTE, replace_within
from rpc_magic.notebook.inplace import update_in_place
from rpc_magic.notebook.registry import Registry, Server, address_of
from rpc_magic.notebook.states import is_immutable, state_of
from rpc_magic.notebook.sync import is_history

__all__ = ["bind", "bind_fetched", "is_synchronised", "note_received"]

_MISSING: Any = object()


def bind(
    run: Run,
    namespace: dict[str, Any],
    server: Server,
    registry: Registry,
    *,
    reads: frozenset[str],
    before: dict[str, Any] | None = None,
) -> list[str]:
    """Bind what a cell bound, changed and deleted.

    Args:
        run: the cell that has ended.
        namespace: the notebook's variables.
        server: where it ran.
        registry: takes the placeholders.
        reads: names that the cell read.
        before: the notebook's variables when a background cell started: what was bound here since is left alone.

    Returns:
        The names that were left alone.
    """
    binder = _Binder(run, namespace, server, registry, reads, before)
    binder.bind_values()
    binder.bind_placeholders()
    binder.delete()
    return binder.left


class _Binder:
    """The binding of one cell's results."""

    def __init__(
        self,
        run: Run,
        namespace: dict[str, Any],
        server: Server,
        registry: Registry,
        reads: frozenset[str],
        before: dict[str, Any] | None,
    ) -> None:
        self._run, self._namespace, self._server, self._registry = run, namespace, server, registry
        self._reads, self._before = reads, before
        self.left: list[str] = []

    def _is_free(self, name: str) -> bool:
        """Tell whether a name may be bound; one that was bound here since a background cell started may not."""
        if is_history(name):
            return False
        before = self._before
        if before is None or before.get(name, _MISSING) is self._namespace.get(name, _MISSING):
            return True
        self.left.append(name)
        self._server.ledger.forget(name)
        return False

    def _is_newer_here(self, name: str) -> bool:
        """Tell whether a variable that is as it was there has been changed here since, or on another server."""
        if name not in self._run.mates or name not in self._namespace:
            return False
        return not is_synchronised(self._server, self._namespace, name)

    def bind_values(self) -> None:
        """Bind what came as values; what they share stays shared."""
        run, namespace = self._run, self._namespace
        outputs = run.result.outputs
        names = [n for n in sorted(outputs, key=lambda name: name not in run.mutated) if self._is_free(n)]
        # What came along with others and is newer here stays as it is; they refer to it as it is.
        newer = {name for name in names if self._is_newer_here(name)}
        places = {
            id(outputs[name]): (outputs[name], namespace[name])
            for name in newer
            if not is_immutable(outputs[name])
        }
        names = [name for name in names if name not in newer]
        for name in names:
            if id(outputs[name]) not in places and name in run.mutated:
                update_into(self._object_of(name), outputs[name], places)
        values = replace_within([outputs[name] for name in names], places)
        for name, value in zip(names, values, strict=True):
            old = namespace.get(name)
            if name in run.mutated and old is not value and not _is_same_tuple(old, value):
                if name in namespace and type(old) is not RemoteValue:
                    self._registry.tell_rebound(name, value)
                for alias in self._aliases(name):
                    namespace[alias] = value
            if not _is_same_tuple(old, value):
                namespace[name] = value
        for name in names:
            note_received(self._server, namespace, name)
            self._server.reads.pop(name, None)

    def _object_of(self, name: str) -> Any:
        """Return the object that a variable holds, or that its placeholder replaced; None if there is none."""
        old = self._namespace.get(name)
        return self._registry.placed.get(old) if type(old) is RemoteValue else old

    def _aliases(self, name: str) -> list[str]:
        """Return the other names of the object that a variable holds."""
        old = self._namespace.get(name)
        if old is None or is_immutable(old):
            return []
        return [n for n, value in self._namespace.items() if value is old and n != name and not is_history(n)]

    def bind_placeholders(self) -> None:
        """Bind placeholders for what stayed there."""
        namespace, ledger = self._namespace, self._server.ledger
        # The code behind what was made there may refer to what the cell read, and to what it made itself.
        reads = self._reads.union(self._run.kept, self._run.result.outputs)
        for name, value in self._own_placeholders().items():
            module = self._registry.module_here(value)
            if module is not None and namespace.get(name) is module:
                note_received(self._server, namespace, name)
                continue
            if not self._is_free(name) or self._is_newer_here(name):
                continue
            if module is not None:
                namespace[name] = module
                note_received(self._server, namespace, name)
                continue
            # An object that was changed there is there now, whatever names it has here.
            is_mutated = name in self._run.mutated
            old = self._object_of(name) if is_mutated else None
            for alias in self._aliases(name) if is_mutated else ():
                if alias not in self._run.kept:
                    namespace[alias] = value
            namespace[name] = value
            ledger.remote(name)
            self._registry.placed[value] = old
            self._server.reads[name] = reads

    def _own_placeholders(self) -> dict[str, RemoteValue]:
        """Return a placeholder for each name; those of one object, which name its first variable, are grouped."""
        own: dict[str, RemoteValue] = {}
        groups: dict[str, list[RemoteValue]] = {}
        for name, value in self._run.kept.items():
            _, root = address_of(value)
            if root != f"={name}":
                info = msgspec.structs.replace(value._info, key="")  # noqa: SLF001 - its description has no other door
                value = self._server.connection.remote_value(info, name)  # noqa: PLW2901 - the same, by its own name
            own[name] = value
            groups.setdefault(root, []).append(value)
        for values in groups.values():
            if len(values) > 1:
                self._registry.group(values)
        return own

    def delete(self) -> None:
        """Delete what the cell deleted, unless it has become something else here."""
        for name in self._run.deleted:
            is_here = name in self._namespace and self._is_free(name)
            if is_here and is_synchronised(self._server, self._namespace, name):
                del self._namespace[name]
            self._server.ledger.forget(name)
            self._server.reads.pop(name, None)


def is_synchronised(server: Server, namespace: dict[str, Any], name: str) -> bool:
    """Tell whether a variable is here as the session has it, or stands for what the session has."""
    value, state = namespace[name], server.ledger.held(name)
    if type(value) is RemoteValue:
        return address_of(value) == (server.ticket, f"={name}")
    if state is None or state is REMOTE:
        return False
    try:
        return bool(state_of(value, namespace).key == state)
    except TransferError:
        return False


def note_received(server: Server, namespace: dict[str, Any], name: str) -> None:
    """Note that the session and the notebook hold the same value of a variable."""
    try:
        server.ledger.received(name, state_of(namespace[name], namespace).key)
        server.anchors.note(name, namespace[name])
    except TransferError:
        server.ledger.forget(name)


def bind_fetched(
    shell: Any,
    registry: Registry,
    server: Server,
    fetched: Iterable[tuple[RemoteValue, Any]],
    here: Iterable[tuple[Any, Any]] = (),
) -> None:
    """Bind fetched values wherever their placeholders stand: in variables, in ``Out`` and in ``_``.

    Args:
        shell: IPython's shell.
        registry: knows the objects that the placeholders replaced.
        server: where they came from.
        fetched: placeholders and values.
        here: objects that are here as they shall be, and those that came for them.
    """
    pairs = [(placeholder, fresh, registry.placed.pop(placeholder, None)) for placeholder, fresh in fetched]
    places: dict[int, tuple[Any, Any]] = {
        id(fresh): (fresh, old) for old, fresh in here if not is_immutable(fresh)
    }
    for _, fresh, old in pairs:
        if id(fresh) not in places:
            update_into(old, fresh, places)
    values = replace_within([fresh for _, fresh, _ in pairs], places)
    names: dict[str, str] = {}
    for (placeholder, _, old), fresh in zip(pairs, values, strict=True):
        value = old if _is_same_tuple(old, fresh) else fresh
        if old is not None and value is not old:
            registry.tell_rebound(address_of(placeholder)[1].lstrip("="), value)
        for name, bound in list(shell.user_ns.items()):
            if bound is placeholder:
                shell.user_ns[name] = value
                names[name] = address_of(placeholder)[1].removeprefix("=")
                if (
                    is_history(name) and name in shell.user_ns_hidden
                ):  # by it IPython knows that it is no variable
                    shell.user_ns_hidden[name] = value
        history = shell.user_ns.get("_oh", {})
        for number, shown in list(history.items()):
            if shown is placeholder:
                history[number] = value
        for name in ("_", "__", "___"):
            if getattr(shell.displayhook, name, None) is placeholder:
                setattr(shell.displayhook, name, value)
    _note_fetched(server, shell.user_ns, names)


def _note_fetched(server: Server, namespace: dict[str, Any], names: dict[str, str]) -> None:
    """Note what was fetched; `names`: of the variables here, and of those of the session that they had stood for."""
    for name, there in names.items():
        if name == there:
            note_received(server, namespace, name)
        elif not is_history(name):  # the session has the value, but not by this name
            server.ledger.forget(name)


def update_into(old: Any, new: Any, places: dict[int, tuple[Any, Any]]) -> None:
    """Give an object, or the items of a tuple, the content of what came for it, and note what takes whose place.

    A tuple that was not bound anew refers to the objects that it always did.
    """
    if type(old) is tuple and type(new) is tuple and len(old) == len(new):
        for mine, fresh in zip(old, new, strict=True):
            if id(fresh) not in places:
                update_into(mine, fresh, places)
    elif update_in_place(old, new):
        places[id(new)] = (new, old)


def _is_same_tuple(old: object, new: object) -> bool:
    """Tell whether two tuples hold the same objects; of what never changes, equal ones."""
    return (
        type(old) is tuple
        and type(new) is tuple
        and len(old) == len(new)
        and all(map(_is_same_item, old, new))
    )


def _is_same_item(old: object, new: object) -> bool:
    return (
        old is new
        or _is_same_tuple(old, new)
        or (is_immutable(old) and type(old) is type(new) and old == new)
    )
