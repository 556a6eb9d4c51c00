"""The files that a module consists of, with a digest for each.

A module that is one file consists of that file. A package consists of what lies in its folder: sources, and data
that its code may read. Left out are caches, hidden files, links that lead out of the folder, and what is no regular
file; compiled extension modules are named, never read. Sources come first, then data from the smallest on, up to the
limits; what is over them is named too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import xxhash

from rpc_magic.settings import ModuleLimits

__all__ = ["Listing", "Signature", "is_extension", "list_files", "module_paths", "signature_of"]

_SKIPPED = frozenset({"__pycache__", "node_modules"})
_UNREAD = (".pyc", ".pyo")
_EXTENSIONS = (*EXTENSION_SUFFIXES, ".so", ".pyd", ".dylib", ".dll")

Signature = tuple[int, int]
"""Size and time of change (nanoseconds) of a file: as long as they are the same, so is its content."""

_digests: dict[str, tuple[Signature, bytes]] = {}


@dataclass(frozen=True)
class Listing:
    """The files of a module, by their path below the folder that is searched for it, with ``/``.

    Attributes:
        files: digests of those that are sent.
        extensions: compiled extension modules, which are not.
        left: those that are over a limit.
        signatures: of all files and folders looked at, by absolute path: they change when the module does.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    extensions: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    signatures: dict[str, Signature] = field(default_factory=dict)


def is_extension(path: str) -> bool:
    """Tell whether a file is a compiled extension module, or another library of machine code."""
    return path.endswith(_EXTENSIONS)


def signature_of(path: str) -> Signature:
    """Return a file's or folder's signature; (-1, 0) when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path costs more than the call, and this is done before each request
    except OSError:
        return -1, 0
    return found.st_size, found.st_mtime_ns


def list_files(name: str, location: Path, limits: ModuleLimits) -> Listing:
    """List the files of a module.

    Args:
        name: the module's, without a package.
        location: its file, or its package's folder.
        limits: how much is sent of one module.
    """
    location = location.resolve()
    if not location.is_dir():
        path = str(location)
        return Listing({f"{name}.py": _digest(path)}, signatures={path: signature_of(path)})
    signatures: dict[str, Signature] = {}
    extensions: list[str] = []
    found: list[tuple[bool, int, str, str]] = []
    for path, size in _walk(location, signatures, limits.files):
        relative = f"{name}/{Path(path).relative_to(location).as_posix()}"
        if is_extension(path):
            extensions.append(relative)
        else:
            found.append((not path.endswith(".py"), size, relative, path))
    files: dict[str, bytes] = {}
    left: list[str] = []
    total = 0
    for _, size, relative, path in sorted(found):
        if total + size > limits.bytes:
            left.append(relative)
            continue
        total += size
        files[relative] = _digest(path)
    return Listing(files, tuple(extensions), tuple(left), signatures)


def module_paths(name: str, location: Path, listing: Listing) -> dict[str, Path]:
    """Return the absolute paths of the files of a listing."""
    location = location.resolve()
    if not location.is_dir():
        return dict.fromkeys(listing.files, location)
    return {relative: location / relative[len(name) + 1 :] for relative in listing.files}


def _walk(top: Path, signatures: dict[str, Signature], most: int) -> Iterator[tuple[str, int]]:
    """Yield path and size of the files below a folder, `most` of them; note what they and their folders look like."""
    inside = str(top) + os.sep
    for folder, folders, names in os.walk(top):
        signatures[folder] = signature_of(folder)
        folders[:] = sorted(one for one in folders if not one.startswith(".") and one not in _SKIPPED)
        for name in sorted(names):
            path = os.path.join(folder, name)  # noqa: PTH118 - a Path for each file takes ten times as long
            if name.startswith(".") or name.endswith(_UNREAD):
                continue
            if os.path.islink(path) and not os.path.realpath(path).startswith(inside):  # noqa: PTH114 - likewise
                continue
            try:
                found = os.stat(path)  # noqa: PTH116 - as above
            except OSError:  # a link to nowhere
                continue
            if not stat.S_ISREG(found.st_mode):
                continue
            signatures[path] = found.st_size, found.st_mtime_ns
            yield path, found.st_size
            most -= 1
            if not most:
                return


def _digest(path: str) -> bytes:
    """Return the digest of a file's content; empty when it cannot be read."""
    signature = signature_of(path)
    known = _digests.get(path)
    if known is not None and known[0] == signature:
        return known[1]
    try:
        digest = xxhash.xxh3_128(Path(path).read_bytes()).digest()
    except OSError:
        return b""
    _digests[path] = signature, digest
    return digest
