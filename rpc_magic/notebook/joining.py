"""What a session already has when a notebook comes to it: it is bound here, as if a cell had just done so there."""

from __future__ import annotations

import sys
from typing import Any

from rpc_magic import serial
from rpc_magic.notebook.binding import bind
from rpc_magic.notebook.registry import Registry, Server
from rpc_magic.wire import messages

__all__ = ["join"]

_TOLD = 8
"""Variables that are told by name."""


def join(shell: Any, server: Server, registry: Registry) -> None:
    """Bind the variables that only the session has, and tell which; once, when the session is not busy.

    What is small and plain comes at once, a placeholder stands for the rest; what a name holds here stays.

    Args:
        shell: the notebook's.
        server: whose session it is; nothing happens unless it `is_strange`.
        registry: takes the placeholders.
    """
    if not server.is_strange:
        return
    there = server.connection.exchange.call_soon(serial.describe_variables, tuple(shell.user_ns_hidden))
    if there is None:  # it is busy
        return
    server.is_strange = False
    if set(there) <= set(shell.user_ns):
        return
    run = server.connection.run_cell(
        messages.RunCell("None", automatic=True, expression=True, anew=True), {}, keep=False
    )
    known = set(shell.user_ns)
    for told in (run.kept, run.result.outputs):
        for name in known.intersection(told):
            del told[name]
    bind(run, shell.user_ns, server, registry, reads=frozenset())
    names = sorted({*run.kept, *run.result.outputs}, key=lambda name: (name.casefold(), name))
    more = f" and {len(names) - _TOLD:,} more" if len(names) > _TOLD else ""
    if names:
        sys.stdout.write(f"{server.name}: here too now: {', '.join(names[:_TOLD])}{more}\n")
