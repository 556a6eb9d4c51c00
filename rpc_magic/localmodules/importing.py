"""Importing the user's modules in a session's processes, from a folder that is told for each.

Theory of operation. The finder stands first in ``sys.meta_path``, because the user's modules come first in the
notebook too. For a name without a package it asks `locate`, which says where the module is, or that it is none of the
user's; what lies inside such a package is found in the package's folders. Modules are always compiled from their
source: a ``.pyc`` is taken for right when the file's size and second are, and an edit may leave both as they were.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["Finder", "Placed", "origin_of", "own_spec"]


@dataclass(frozen=True)
class Placed:
    """Where a module of the user's is in this process's machine.

    Attributes:
        folder: the folder in which it is found.
        files: digests of its files, by path below `folder`.
        extensions: its compiled extension modules, which were not sent.
        is_extension: it is one itself.
        is_own: it lies here by itself, the same as the client's; nothing was sent.
    """

    folder: str
    files: dict[str, bytes]
    extensions: tuple[str, ...] = ()
    is_extension: bool = False
    is_own: bool = False


class _Loader(SourceFileLoader):
    """Loads from source only."""

    def path_stats(self, path: str) -> Any:
        """Say that nothing is known by which a ``.pyc`` could be trusted."""
        raise OSError(path)


class Finder(MetaPathFinder):
    """Finds the user's modules; any thread.

    Args:
        locate: tells where a module is; None for one that is not the user's, or cannot be had.

    Attributes:
        placed: the modules located so far.
    """

    def __init__(self, locate: Callable[[str], Placed | None]) -> None:
        self._locate = locate
        self.placed: dict[str, Placed] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a module of the user's.

        Raises:
            ImportError: it is a compiled extension module.
        """
        top = fullname.partition(".")[0]
        if top == fullname:
            if fullname in sys.builtin_module_names or fullname in sys.stdlib_module_names:
                return None
            placed = self._locate(fullname)
            if placed is None:
                return None
            self.placed[fullname] = placed
            path = [placed.folder]
        else:
            known = self.placed.get(top)
            if known is None or path is None:
                return None
            placed = known
        if placed.is_extension:
            raise _is_compiled(fullname)
        for folder in path:
            spec = FileFinder(folder, (_Loader, SOURCE_SUFFIXES)).find_spec(fullname)
            if spec is not None:
                return spec
        if not placed.is_own and any(_names(one, fullname) for one in placed.extensions):
            raise _is_compiled(fullname)
        return None


def own_spec(name: str, finder: Finder) -> ModuleSpec | None:
    """Find a module as this process would without the finder."""
    for other in sys.meta_path:
        find = getattr(other, "find_spec", None)
        if other is not finder and find is not None:
            spec: ModuleSpec | None = find(name, None)
            if spec is not None:
                return spec
    return None


def _names(file: str, module: str) -> bool:
    """Tell whether a compiled file is the module of that name."""
    return file.partition(".")[0].replace("/", ".") == module


def _is_compiled(name: str) -> ImportError:
    return ImportError(
        f"{name} is a compiled extension module, and those are not sent to another machine: build or install it where "
        "the session runs (%rpc_pip install ...)",
        name=name,
    )


def origin_of(module: ModuleType) -> Path | None:
    """Return the file that a module was loaded from."""
    spec = module.__dict__.get("__spec__")
    origin = getattr(spec, "origin", None)
    return Path(origin) if isinstance(origin, str) and getattr(spec, "has_location", False) else None
