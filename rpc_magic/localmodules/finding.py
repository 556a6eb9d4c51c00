"""Whether a module is the user's own, and where it lies.

A module is the user's own when it was not installed: its file lies neither in the standard library nor in a
``site-packages``. So are modules beside the notebook or in another folder of ``sys.path``, and projects installed in
editable mode, whose files lie in their own folder. Names are resolved by Python's finders only, and only names
without a package are asked for; nothing is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import sysconfig
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import NamedTuple

from rpc_magic.localmodules.files import is_extension

__all__ = ["Found", "find_module", "is_installed", "local_names"]

_NEVER = frozenset(
    {"rpc_magic", "__main__", "__mp_main__", *sys.builtin_module_names, *sys.stdlib_module_names}
)
"""Every process has these of its own."""

_INSTALLED = frozenset({"site-packages", "dist-packages"})


class Found(NamedTuple):
    """A module of the user's.

    Attributes:
        location: its file, or its package's folder.
        is_extension: it is a compiled extension module.
    """

    location: Path
    is_extension: bool = False


@cache
def _library_folders() -> tuple[Path, ...]:
    return tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib"))


def is_installed(path: Path) -> bool:
    """Tell whether a file belongs to Python or to an installed package."""
    if not _INSTALLED.isdisjoint(path.parts):
        return True
    path = path.resolve()
    return not _INSTALLED.isdisjoint(path.parts) or any(map(path.is_relative_to, _library_folders()))


def find_module(name: str) -> Found | None:
    """Find a module of the user's by its name; None when it is not here, or is not the user's own."""
    if name in _NEVER or not name.isidentifier():
        return None
    spec = _spec_of(name)
    if spec is None:
        return None
    if spec.origin is None or not spec.has_location:
        # A folder without __init__.py; one that lies in several places is not sent.
        folders = [Path(folder) for folder in spec.submodule_search_locations or ()]
        if len(folders) != 1 or not folders[0].is_dir() or is_installed(folders[0]):
            return None
        return Found(folders[0])
    file = Path(spec.origin)
    if not file.is_file() or is_installed(file):
        return None
    if is_extension(file.name):
        return Found(file, is_extension=True)
    if file.suffix != ".py":
        return None
    return Found(file.parent if spec.submodule_search_locations is not None else file)


def _spec_of(name: str) -> ModuleSpec | None:
    importlib.invalidate_caches()  # a file may have been written a moment ago
    try:
        return importlib.util.find_spec(name)
    except Exception:  # noqa: BLE001 - a module without spec; or somebody's finder, whatever it raises
        try:
            return PathFinder.find_spec(name)
        except Exception:  # noqa: BLE001 - likewise
            return None


def local_names() -> tuple[str, ...]:
    """Return the names of modules and packages that lie in the user's own folders of ``sys.path``."""
    names: set[str] = set()
    for entry in dict.fromkeys(sys.path):
        folder = Path(entry or ".")
        try:
            if is_installed(folder):
                continue
            for path in folder.iterdir():
                if path.suffix == ".py":
                    names.add(path.stem)
                elif (path / "__init__.py").is_file():
                    names.add(path.name)
        except OSError:
            continue
    return tuple(sorted(name for name in names - _NEVER if name.isidentifier()))
