"""Keeps the surroundings of cells equal here and on the other side.

Each side knows what the other has. Before a cell, and after it, what differs from that is told, each state for itself,
so that one that cannot travel, or that the other side's version of a library does not take, costs no other.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Mapping
from typing import Any

from rpc_magic import serial
from rpc_magic.surroundings.filters import Filters
from rpc_magic.surroundings.libraries import LIBRARIES, State, read_shell, write_shell
from rpc_magic.surroundings.process import Environment, read_folder, write_folder

__all__ = ["Surroundings"]

_MISSING = object()


class Surroundings:
    """The surroundings of this process's cells.

    Args:
        shell: IPython's shell.
        is_session: libraries are loaded here when options of theirs are told.
    """

    def __init__(self, shell: Any, *, is_session: bool = False) -> None:
        self._shell, self._is_session = shell, is_session
        environment, filters = Environment(), Filters()
        self._states = {
            "shell": State("", read_shell, write_shell),
            **LIBRARIES,
            "warnings": State("warnings", filters.read, filters.write),
            "folder": State("sys", read_folder, write_folder),
            "environment": State("sys", environment.read, environment.write),
        }
        self._waiting: dict[str, Any] = {}

    def news(self, known: dict[str, Any], *, is_here: bool, is_alone: bool = True) -> dict[str, bytes]:
        """Return what the other side does not know, encoded, and note in `known` that it does.

        Args:
            known: what it has.
            is_here: it is on this machine: folder and environment go as well.
            is_alone: no other cell runs meanwhile: the states of chance go as well.
        """
        self.settle()
        told = {}
        for name, value in self._read(is_here=is_here, is_alone=is_alone).items():
            if _differs(known.get(name, _MISSING), value):
                known[name] = value
                with contextlib.suppress(Exception):  # what cannot travel stays
                    told[name] = serial.dumps(value)
        return told

    def take(
        self,
        told: Mapping[str, bytes],
        known: dict[str, Any],
        *,
        is_here: bool,
        is_alone: bool = True,
        text: str | None = None,
    ) -> None:
        """Set what the other side has told, and note in `known` what there is now.

        Args:
            told: what `news` has returned there.
            known: as for `news`.
            is_here: likewise.
            is_alone: likewise.
            text: as for `settle`.
        """
        for name, data in told.items():
            if self._goes(name, is_here=is_here, is_alone=is_alone):
                with contextlib.suppress(Exception):  # its classes may not be here
                    self._waiting[name] = serial.loads(data)
        self.settle(text)
        for name in told:
            known.pop(name, None)
            with contextlib.suppress(Exception):
                if (owner := self._owner(name)) is not None:
                    known[name] = self._states[name].read(owner)

    def settle(self, text: str | None = None) -> None:
        """Set what waits for a library that has been loaded since.

        Args:
            text: of a cell that is about to run: a library whose name is in it is loaded.
        """
        for name in list(self._waiting):
            state = self._states[name]
            is_wanted = self._is_session and bool(self._waiting[name]) and not state.of_chance
            if text is not None and (is_wanted or state.module in text):
                with contextlib.suppress(Exception):  # it is not installed
                    importlib.import_module(state.module)
            owner = self._owner(name)
            if owner is not None:
                value = self._waiting.pop(name)
                with contextlib.suppress(Exception):  # this version of the library may not take it
                    state.write(owner, value)

    def _goes(self, name: str, *, is_here: bool, is_alone: bool) -> bool:
        state = self._states.get(name)
        if state is None or (state.of_chance and not is_alone):
            return False
        return is_here or name not in {"folder", "environment"}

    def _read(self, *, is_here: bool, is_alone: bool) -> dict[str, Any]:
        found = {}
        for name, state in self._states.items():
            owner = self._owner(name)
            if owner is not None and self._goes(name, is_here=is_here, is_alone=is_alone):
                with contextlib.suppress(Exception):  # a library of another version, or half loaded
                    found[name] = state.read(owner)
        return found

    def _owner(self, name: str) -> Any:
        """Return what a state is read from; None where its library is not loaded."""
        module = self._states[name].module
        return sys.modules.get(module) if module else self._shell


def _differs(one: Any, other: Any) -> bool:
    try:
        return bool(one != other)
    except Exception:  # noqa: BLE001 - of objects that the user has set as options
        return one is not other
