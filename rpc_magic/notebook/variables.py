"""Which variables are here, which are there, and how they compare: a plain list, made when somebody reads it."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from rpc_magic import serial
from rpc_magic.client import RemoteValue
from rpc_magic.client.values import human_size, type_name_of
from rpc_magic.errors import TransferError
from rpc_magic.namespace import is_bookkeeping
from rpc_magic.notebook.registry import Registry, Server, address_of
from rpc_magic.notebook.states import state_of

__all__ = ["Variable", "list_variables"]

_COMPARED = 10_000_000
"""Bytes, or items, of a value above which it is not compared: that takes a digest of its content."""


@dataclass(frozen=True)
class Variable:
    """One name.

    Attributes:
        name: the variable's.
        where: "here", "there" or "both".
        kind, extent, size: type, shape or length, bytes as people write them; empty when unknown.
        state: "same", "newer here", "newer there", or empty where there is nothing to compare or it would take long.
    """

    name: str
    where: str
    kind: str
    extent: str
    size: str
    state: str


def list_variables(shell: Any, server: Server, registry: Registry) -> list[Variable] | None:
    """Return the user's variables, by name; any thread.

    Returns:
        None while the session is busy or gone, so that it does not answer.
    """
    hidden = tuple(shell.user_ns_hidden)
    told = server.connection.exchange.call_soon(serial.describe_variables, hidden)
    if not isinstance(told, dict):
        return None
    there = {name: serial.Description(*facts) for name, facts in told.items()}
    here = {
        name: value
        for name, value in list(shell.user_ns.items())
        if not name.startswith("_")
        and name not in hidden
        and not _is_module(value)
        and not is_bookkeeping(name, value)
    }
    return [
        _variable(name, here, there, server, registry, shell.user_ns)
        for name in sorted({*here, *there}, key=str.casefold)
    ]


def _is_module(value: object) -> bool:
    return isinstance(value, ModuleType) or (
        isinstance(value, RemoteValue) and type_name_of(value) == "module"
    )


def _variable(
    name: str,
    here: dict[str, Any],
    there: dict[str, serial.Description],
    server: Server,
    registry: Registry,
    namespace: dict[str, Any],
) -> Variable:
    value = here.get(name)
    facts = there.get(name)
    if name in here and not isinstance(value, RemoteValue):
        where = "both" if facts is not None else "here"
        facts = serial.describe(value)
        state = _compared(name, value, facts, server, namespace) if where == "both" else ""
    else:
        where, state = "there", ""
        if (
            isinstance(value, RemoteValue)
            and address_of(value)[0] == server.ticket
            and registry.placed.get(value) is not None  # the object that it replaced is here still
        ):
            where, state = "both", "newer there"
        if facts is None:  # it is on another server, or gone
            where, facts = "here", serial.describe(value)
    return Variable(name, where, facts.type_name, _short(facts.extent), human_size(facts.size), state)


def _short(extent: str) -> str:
    """Return a shape or a length without the words that a list's column has no room for."""
    for word in (" rows", " columns", "shape ", "len "):
        extent = extent.replace(word, "")
    return extent


def _compared(
    name: str, value: Any, facts: serial.Description, server: Server, namespace: dict[str, Any]
) -> str:
    """Compare a value of here with what the session is known to hold."""
    held = server.ledger.held(name)
    if held is None or server.ledger.is_remote(name):
        return ""
    try:
        large = facts.size > _COMPARED or (facts.size < 0 and len(value) > _COMPARED // 1000)
    except TypeError:
        large = False
    if large:
        return ""
    try:
        return "same" if state_of(value, namespace).key == held else "newer here"
    except (TransferError, RuntimeError):  # it cannot travel; it changes while it is looked at
        return ""
