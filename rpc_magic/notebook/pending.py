"""The variables that background cells are about to make: what of this notebook has to wait for them.

They are told from the cell's text: the names that it binds, those of whose values it sets items or attributes, and
those that it was told to bring back.
"""

from __future__ import annotations

import ast
import concurrent.futures
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from rpc_magic.client import Call
from rpc_magic.namespace import cell_names

__all__ = ["Pending", "names_made"]

_MISSING: Any = object()


def names_made(text: str) -> frozenset[str]:
    """Return the variables that a cell, as the shell has transformed it, makes or changes; none for broken text."""
    try:
        tree, names = ast.parse(text), cell_names(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    return names.binds | {root for node in ast.walk(tree) if (root := _root_of_store(node))}


def _root_of_store(node: ast.AST) -> str:
    """Return the variable of which an item or attribute is set here, or an empty text."""
    if not (isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del))):
        return ""
    value: ast.expr = node
    while isinstance(value, (ast.Subscript, ast.Attribute)):
        value = value.value
    return value.id if isinstance(value, ast.Name) else ""


@dataclass(frozen=True, eq=False)
class _Cell:
    """A background cell that has not ended.

    Attributes:
        call: its call.
        label: its first line.
        server: where it runs.
        names: what it makes.
        before: the notebook's variables when it was started.
    """

    call: Call
    label: str
    server: str
    names: frozenset[str]
    before: dict[str, Any]

    def makes(self, name: str, namespace: dict[str, Any]) -> bool:
        """Tell whether a variable is this cell's: not one that was bound here since, nor a module that is here already.

        A cell that runs elsewhere imports there what it needs; nobody waits for the module of the same name here.
        """
        value = namespace.get(name, _MISSING)
        return (
            name in self.names
            and self.before.get(name, _MISSING) is value
            and not isinstance(value, ModuleType)
        )


class Pending:
    """The background cells of a notebook that have not ended. Main thread only.

    Args:
        namespace: the notebook's variables.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        self._cells: list[_Cell] = []

    def add(self, call: Call, label: str, server: str, names: frozenset[str], before: dict[str, Any]) -> None:
        """A background cell was started."""
        self._cells.append(_Cell(call, label, server, names, before))

    def _running(self) -> list[_Cell]:
        if self._cells:
            self._cells = [cell for cell in self._cells if not cell.call.done()]
        return self._cells

    @property
    def is_any(self) -> bool:
        """A background cell has not ended."""
        return bool(self._running())

    def on(self, server: str) -> frozenset[str]:
        """Return the variables that a server's background cells are making."""
        cells = [cell for cell in self._running() if cell.server == server]
        return frozenset(n for cell in cells for n in cell.names if cell.makes(n, self._namespace))

    def among(self, names: Iterable[str]) -> set[str]:
        """Return those of some variables that a background cell is making."""
        cells = self._running()
        return {name for name in names if any(cell.makes(name, self._namespace) for cell in cells)}

    def wait(self, names: Iterable[str], *, besides: str = "") -> bool:
        """Wait for the cells that make some variables, and say so; those on the server `besides` are not waited for.

        Returns:
            Whether there was anything to wait for.

        Raises:
            KeyboardInterrupt: Stop; the background cells go on.
        """
        wanted = set(names)
        has_waited = False
        for cell in list(self._running()):
            mine = sorted(name for name in wanted if cell.makes(name, self._namespace))
            if mine and cell.server != besides:
                has_waited = True
                self._wait_for(cell, ", ".join(mine))
        return has_waited

    @staticmethod
    def _wait_for(cell: _Cell, names: str) -> None:
        _say(
            f"{names}: a background cell on {cell.server} is still making it ({cell.label}, for "
            f"{cell.call.seconds:.0f} s); this cell waits for it. Stop ends the wait, not the background cell. What "
            f"does not mention {names} does not wait, and a %%rpc_call cell queues behind it by itself."
        )
        concurrent.futures.wait([cell.call])
        error = None if cell.call.cancelled() else cell.call.exception()
        if cell.call.cancelled() or error is not None:
            what = "was cancelled" if error is None else f"failed with {type(error).__name__}"
            _say(
                f"that background cell {what}; {names} may be as before. %rpc_result {cell.call.id} tells more."
            )


def _say(text: str) -> None:
    sys.stderr.write(f"rpc_magic: {text}\n")
    sys.stderr.flush()
