"""Answers a session that asks for the user's own modules, and tells it when they were edited.

What may be served is decided in `rpc_magic.localmodules`: the names that the session gives are resolved by Python's
finders, and a file is sent only if the listing of its module, made here, has it.
"""

from __future__ import annotations

import contextlib
import linecache
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from importlib import metadata
from pathlib import Path

from rpc_magic.errors import RpcMagicError
from rpc_magic.localmodules.files import Listing, list_files, module_paths, signature_of
from rpc_magic.localmodules.finding import find_module, local_names
from rpc_magic.settings import ModuleLimits
from rpc_magic.wire import messages
from rpc_magic.wire.frames import Buffer

__all__ = ["LocalModules"]

_OVERHEAD = 10
"""Looking for edits may take this fraction of the time, one in so many, when calls come quickly after each other."""

_LONGEST_PAUSE = 0.05
"""Seconds for which nobody looks at most: nobody edits a file and runs a cell within this time."""

Send = Callable[[int, messages.Message, Sequence[Buffer]], None]


class LocalModules:
    """See the module's text. Thread-safe.

    Args:
        limits: how much is sent of one module.
    """

    def __init__(self, limits: ModuleLimits | None = None) -> None:
        self._limits = limits or ModuleLimits()
        self._lock = threading.Lock()
        self._told: dict[str, tuple[Path, Listing]] = {}
        self._look_at = 0.0

    def answer(self, question: messages.FindModule, send: Send) -> None:
        """Answer a question of the session's, on a thread of its own: files are read, and finders are others' code."""

        def work() -> None:
            try:
                message, buffers = self._answer(question)
            except Exception:  # noqa: BLE001 - whatever it is, the session must not wait for ever
                message, buffers = messages.ModuleFound(question.number), []
            with contextlib.suppress(RpcMagicError):
                send(0, message, buffers)

        threading.Thread(target=work, name="rpc_magic-modules", daemon=True).start()

    def _answer(self, question: messages.FindModule) -> tuple[messages.ModuleFound, list[Buffer]]:
        number, name = question.number, question.name
        if question.paths and not name:
            return messages.ModuleFound(number), [_cell(path).encode() for path in question.paths]
        if not name:
            return messages.ModuleFound(number, names=local_names()), []
        if question.paths:
            return messages.ModuleFound(number, "local"), self._contents(name, question.paths)
        found = find_module(name)
        if found is None:
            return messages.ModuleFound(number, distribution=_distribution(name)), []
        if found.is_extension:
            return messages.ModuleFound(number, "extension"), []
        listing = list_files(name, found.location, self._limits)
        with self._lock:
            self._told[name] = found.location, listing
        return messages.ModuleFound(number, "local", listing.files, listing.extensions, listing.left), []

    def _contents(self, name: str, wanted: Sequence[str]) -> list[Buffer]:
        """Return the content of files; of one that was not listed, or is gone meanwhile, nothing."""
        with self._lock:
            told = self._told.get(name)
        paths = {} if told is None else module_paths(name, *told)
        contents: list[Buffer] = []
        for relative in wanted:
            try:
                contents.append(paths[relative].read_bytes())
            except (KeyError, OSError):
                contents.append(b"")
        return contents

    def changed(self) -> tuple[str, ...]:
        """Return which of the session's modules have been edited since the last time; before each request."""
        if not self._told or time.monotonic() < self._look_at:
            return ()
        with self._lock:
            began = time.thread_time()
            touched = [name for name, (_, listing) in self._told.items() if _is_touched(listing)]
            pause = min((time.thread_time() - began) * _OVERHEAD, _LONGEST_PAUSE)
            self._look_at = time.monotonic() + pause
            return tuple(name for name in touched if self._has_changed(name))

    def _has_changed(self, name: str) -> bool:
        """Look at a module's files anew; tell whether their content differs."""
        location, listing = self._told[name]
        new = list_files(name, location, self._limits)
        self._told[name] = location, new
        return new.files != listing.files or new.extensions != listing.extensions


def _cell(file: str) -> str:
    """Return the text of a notebook's cell by the name of its file; empty for anything that is a real file."""
    entry = linecache.cache.get(file)
    if entry is None or len(entry) != 4 or entry[1] is not None or Path(file).exists():
        return ""
    return "".join(entry[2])


def _is_touched(listing: Listing) -> bool:
    return any(signature_of(path) != known for path, known in listing.signatures.items())


@cache
def _distributions() -> dict[str, list[str]]:
    return dict(metadata.packages_distributions())


def _distribution(name: str) -> str:
    """Return what was installed here for a module of that name, as "scikit-learn" for "sklearn"."""
    return next(iter(_distributions().get(name, ())), "")
