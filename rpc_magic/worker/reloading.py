"""Loading edited modules again in place, as IPython's ``%autoreload 2`` does.

Functions and classes that were made of the old text get the new code, and instances the new class, so whatever refers
to them sees the edit. A module that took names out of an edited one (``from helpers import LIMIT``) is loaded again
after it.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import linecache
import sys
from collections.abc import Collection, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from rpc_magic.localmodules.importing import origin_of

__all__ = ["reload_modules", "to_reload"]

_known: dict[tuple[str, str], list[Any]] = {}
"""References to what the modules' names stood for, of all texts so far; `superreload` renews those that live."""


def to_reload(tops: Collection[str], changed: Collection[Path | None]) -> list[ModuleType]:
    """Return the loaded modules to load again, each after those that it took names from.

    Args:
        tops: names of the user's modules and packages.
        changed: files that have changed.
    """
    loaded = {
        name: module
        for name, module in list(sys.modules.items())
        if name.partition(".")[0] in tops and isinstance(module, ModuleType)
    }
    sources = {name: _taken_from(module, loaded) for name, module in loaded.items()}
    origins = {name: origin_of(module) for name, module in loaded.items()}
    wanted = {name for name, origin in origins.items() if origin is not None and origin in changed}
    size = -1
    while size != len(wanted):
        size = len(wanted)
        wanted.update(name for name, taken in sources.items() if not wanted.isdisjoint(taken))
    ordered: dict[str, None] = {}

    def add(name: str, above: tuple[str, ...]) -> None:
        for source in sorted(sources[name]):
            if source in wanted and source not in ordered and source not in above:
                add(source, (*above, source))
        ordered[name] = None

    for name in sorted(wanted):
        if name not in ordered:
            add(name, (name,))
    return [loaded[name] for name in ordered]


def _taken_from(module: ModuleType, loaded: Collection[str]) -> set[str]:
    """Return the modules of the user's that a module takes names from."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError, ValueError):
        return set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            relative = "." * node.level + (node.module or "")
            try:
                name = importlib.util.resolve_name(relative, module.__package__)
            except ImportError:
                continue
            found.add(name)
            found.update(f"{name}.{alias.name}" for alias in node.names)
    return found.intersection(loaded) - {module.__name__}


def reload_modules(modules: Iterable[ModuleType]) -> list[tuple[ModuleType, BaseException]]:
    """Load modules again, in this order.

    Returns:
        Those that could not be, with the reason. They are no longer loaded: the next import of one raises its error.
    """
    from IPython.extensions.autoreload import superreload  # loads much, and only who edits a module needs it

    failed: list[tuple[ModuleType, BaseException]] = []
    for module in modules:
        linecache.checkcache(getattr(module, "__file__", None))
        try:
            superreload(module, old_objects=_known)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - it is the user's
            failed.append((module, error))
            sys.modules.pop(module.__name__, None)
    return failed
