"""Variables that are sent, fetched and deleted because the user says so, by a magic or a button."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rpc_magic.client import RemoteValue
from rpc_magic.notebook.binding import bind_fetched, note_received
from rpc_magic.notebook.errors import UsageError
from rpc_magic.notebook.registry import Registry, Server, address_of
from rpc_magic.notebook.sync import note_sent, plan_explicit
from rpc_magic.wire import messages

__all__ = ["delete", "fetch", "send"]


def send(names: Iterable[str], namespace: dict[str, Any], server: Server, registry: Registry) -> None:
    """Send variables now, whether the session has them or not.

    Raises:
        MissingNameError, TransferError, RemoteValueError: as `plan_explicit`.
    """
    wanted = list(names)
    for name in wanted:
        if not server.ledger.is_remote(name):
            server.ledger.forget(name)
    plan = plan_explicit(wanted, namespace, server, registry)
    server.connection.push(**plan.inputs)
    note_sent(server, plan)


def fetch(names: Iterable[str], shell: Any, server: Server, registry: Registry) -> None:
    """Fetch variables now and bind them here; a change made there goes into the object that is here.

    Raises:
        UsageError: they are no plain data, or over a limit.
        MissingNameError, TransferError: as `Connection.pull`.
    """
    wanted = list(names)
    namespace = shell.user_ns
    with server.progress.fetching(", ".join(wanted)):
        pulled = server.connection.pull_all(wanted, carry=False)
    if not isinstance(pulled, dict):
        raise UsageError(f"{', '.join(wanted)} cannot be fetched: {pulled!r}")
    placed = []
    for name, value in pulled.items():
        old = namespace.get(name)
        if type(old) is RemoteValue and address_of(old) == (server.ticket, f"={name}"):
            placed.append((old, value))
        else:
            namespace[name] = value
            note_received(server, namespace, name)
    bind_fetched(shell, registry, server, placed)


def delete(names: Iterable[str], namespace: dict[str, Any], server: Server) -> None:
    """Delete variables of the session, and what stands for them here; values that are here stay."""
    wanted = tuple(names)
    run = server.connection.run_cell(messages.RunCell("", delete=wanted), {})
    if run.error is not None:
        raise run.error
    for name in wanted:
        server.ledger.forget(name)
        server.reads.pop(name, None)
        value = namespace.get(name)
        if type(value) is RemoteValue and address_of(value) == (server.ticket, f"={name}"):
            del namespace[name]
