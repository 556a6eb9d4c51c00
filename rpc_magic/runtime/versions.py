"""Versions of Python's libraries on both sides of a connection: told once each, when first an object of one is sent.

Each side notes the modules that what it sends refers to, and tells the version of a library it has not told or heard
of yet. The other side compares. A library that was compared is settled for the connection, whoever told it.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata

from rpc_magic._version import __version__

__all__ = ["Libraries", "own_versions", "version_note"]

_OURS = frozenset({"rpc_magic", "__main__", "__mp_main__", *sys.stdlib_module_names})


def own_versions() -> dict[str, str]:
    """Return the versions that are told at connect: of Python and of the packages that the protocol rests on."""
    versions = {"python": platform.python_version(), "rpc_magic": __version__}
    for package in ("dill", "numpy"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def version_of(library: str) -> str:
    """Return the version of an installed library by the name it is imported by; empty when there is none."""
    try:
        return metadata.version(library)
    except (metadata.PackageNotFoundError, ValueError):
        version = getattr(sys.modules.get(library), "__version__", "")
    if isinstance(version, str) and version:
        return version
    for distribution in metadata.packages_distributions().get(library, ())[:1]:
        return metadata.version(distribution)
    return ""


def _major(version: str) -> tuple[str, ...]:
    """Return what tells that two versions may not understand each other: before 1.0, that is the second number."""
    parts = version.split(".")
    return tuple(parts[:2]) if parts[0] == "0" else tuple(parts[:1])


def version_note(library: str, client: str, session: str) -> str:
    """Return a line that says that two versions differ; empty when they are the same, or close enough."""
    if not client or not session or _major(client) == _major(session):
        return ""
    return (
        f"rpc_magic: {library} has version {client} here and {session} in the session; objects of one may not be "
        f"understood by the other (%rpc_pip install {library}=={client})\n"
    )


class Libraries:
    """What one side of a connection has told of libraries, and what it has compared."""

    def __init__(self) -> None:
        self._modules: set[str] = set()
        self._settled: set[str] = set()
        self._fresh: dict[str, str] = {}

    def note(self, modules: set[str]) -> None:
        """Take note of the modules that something sent refers to."""
        if modules <= self._modules:
            return
        self._modules |= modules
        for library in {module.partition(".")[0] for module in modules} - _OURS - self._settled:
            self._settled.add(library)
            version = version_of(library)
            if version:
                self._fresh[library] = version

    def take(self) -> dict[str, str]:
        """Return the versions to tell now."""
        fresh, self._fresh = self._fresh, {}
        return fresh

    def compare(self, theirs: Mapping[str, str]) -> Iterable[tuple[str, str, str]]:
        """Yield library, own version and theirs for what they have told; it is settled with that."""
        for library, version in theirs.items():
            if library not in self._settled or library in self._fresh:
                self._settled.add(library)
                self._fresh.pop(library, None)
                yield library, version_of(library), version
