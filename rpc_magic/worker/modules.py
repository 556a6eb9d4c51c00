"""The user's own modules in a session: asked for at their import, kept in a private folder, loaded again when edited.

A module that this process finds by itself is taken from there when it is the same as the client's: so on the client's
own machine, where a session has the client's ``sys.path``. Else its files are written to the session's folder, where
those that have not changed stay. What is installed here is not asked for, unless the client has a module of that name
in its own folders, which would come first there too.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Iterable
from importlib.machinery import ModuleSpec
from pathlib import Path, PurePosixPath
from types import ModuleType

from rpc_magic.errors import ProtocolError
from rpc_magic.localmodules.files import list_files
from rpc_magic.localmodules.finding import is_installed
from rpc_magic.localmodules.importing import Finder, Placed, origin_of, own_spec
from rpc_magic.settings import ModuleLimits
from rpc_magic.wire import messages
from rpc_magic.worker.cellsources import announce_sources, fetch_sources
from rpc_magic.worker.questions import Questions
from rpc_magic.worker.reloading import reload_modules, to_reload

__all__ = ["UserModules"]


class UserModules:
    """See the module's text. Thread-safe but for `refresh`, which is the main thread's.

    Args:
        questions: asks the client.
        folder: where files are kept; made when the first comes, removed by the keeper.
    """

    def __init__(self, questions: Questions, folder: Path) -> None:
        self._questions, self._folder = questions, folder
        self._lock = threading.RLock()
        self._finder = Finder(self.locate)
        self._names: frozenset[str] | None = None
        self._stale: set[str] = set()
        self._written: dict[str, dict[str, bytes]] = {}
        self._distributions: dict[str, str] = {}
        self._broken: dict[str, ModuleType] = {}

    def install(self) -> None:
        """Have imports of this process ask the client."""
        sys.meta_path.insert(0, self._finder)

    # ------------------------------------------------------------ finding

    def locate(self, name: str) -> Placed | None:
        """Tell where a module of the user's is; None for one that is not, or that nobody can be asked for.

        Raises:
            KeyboardInterrupt: Stop was pressed.
        """
        own = own_spec(name, self._finder)
        if own is None:
            importlib.invalidate_caches()  # its file may have been written a moment ago
            own = own_spec(name, self._finder)
        if own is not None and self._is_settled(name, own):
            return None
        answered = self._questions.ask(name)
        if answered is None:
            return self._finder.placed.get(name)
        found = answered[0]
        if found.kind == "extension":
            return None if own is not None else Placed("", {}, is_extension=True)
        if found.kind != "local":
            if own is None and found.distribution:
                self._distributions[name] = found.distribution
            return None
        with self._lock:
            return self._place(name, own, found)

    def _is_settled(self, name: str, own: ModuleSpec) -> bool:
        """Tell whether a module that is found here is the right one, whatever the client has."""
        if own.origin is None or not own.has_location:
            return own.submodule_search_locations is None  # built in or frozen; a mere folder may be anything
        if not is_installed(Path(own.origin)):
            return False
        if self._names is None:
            answered = self._questions.ask("")
            if answered is None:
                return True
            self._names = frozenset(answered[0].names)
        return name not in self._names

    def _place(self, name: str, own: ModuleSpec | None, found: messages.ModuleFound) -> Placed:
        location = _location(own)
        if location is not None and location.stem == name:
            listing = list_files(name, location, ModuleLimits())
            if listing.files == found.files:
                return Placed(str(location.parent), found.files, is_own=True)
        self._write(name, found.files)
        if found.left:
            more = f" and {len(found.left) - 1:,} more" if len(found.left) > 1 else ""
            sys.stderr.write(
                f"rpc_magic: of {name}, {found.left[0]}{more} stayed on your machine: a module's files may have "
                f"{ModuleLimits().bytes >> 20} MiB together\n"
            )
        return Placed(str(self._folder), found.files, found.extensions)

    def _write(self, name: str, files: dict[str, bytes]) -> None:
        """Bring the module's files in the session's folder to this state."""
        written = self._written.setdefault(name, {})
        for relative in written.keys() - files.keys():
            (self._folder / relative).unlink(missing_ok=True)
            del written[relative]
        wanted = tuple(relative for relative, digest in files.items() if written.get(relative) != digest)
        if not wanted:
            return
        answered = self._questions.ask(name, wanted)
        if answered is None or len(answered[1]) != len(wanted):
            raise ImportError(f"the client went away while it sent {name}", name=name)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for relative, content in zip(wanted, answered[1], strict=True):
            if PurePosixPath(relative).is_absolute() or ".." in PurePosixPath(relative).parts:
                raise ProtocolError(f"{relative!r} is no path of a module's file")
            path = self._folder / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # whoever has it open keeps what was in it
            path.write_bytes(content)
            written[relative] = files[relative]

    # ------------------------------------------------------------ edits

    def note_changed(self, names: Iterable[str]) -> None:
        """Take note that modules are others now; the next `refresh` looks at them."""
        self._names = None
        self._stale.update(self._finder.placed.keys() & names)

    def note_new_client(self) -> None:
        """Any thread: another connection is served; what its side has may be different."""
        self._names = None
        self._stale.update(list(self._finder.placed))

    @property
    def is_stale(self) -> bool:
        """There is something for `refresh` to look at."""
        return bool(self._stale)

    def refresh(self) -> bool:
        """Load edited modules again; tell whether there were any. One that cannot be loaded is named on stderr."""
        names, self._stale = self._stale, set()
        changed: set[Path] = set()
        for name in sorted(names):
            before = self._finder.placed[name]
            now = self.locate(name)
            if now is None:
                continue  # it is gone there: as in a kernel, what was loaded lives on
            self._finder.placed[name] = now
            differing = {path for path, digest in now.files.items() if before.files.get(path) != digest}
            changed.update(Path(before.folder, path) for path in differing)
        for name, module in self._broken.items():  # what refers to it shall see it mended
            sys.modules.setdefault(name, module)
        modules = to_reload(self._finder.placed, {*changed, *map(origin_of, self._broken.values())})
        self._broken.clear()
        for module, error in reload_modules(modules):
            self._broken[module.__name__] = module
            sys.stderr.write(
                f"rpc_magic: {module.__name__} was edited and cannot be loaded again: {type(error).__name__}: {error}\n"
            )
        return bool(modules)

    # ------------------------------------------------------------ what is missing

    def note_functions(self, values: Iterable[object]) -> None:
        """Have the sources of functions that have come from the notebook's cells found when they are asked for."""
        announce_sources(values, self._questions)

    def advise(self, error: BaseException) -> None:
        """Have an error know the lines of its frames, and that of a missing library say in a note how to install it."""
        with contextlib.suppress(Exception):
            fetch_sources(error, self._questions)
        name = getattr(error, "name", None)
        if type(error) is not ModuleNotFoundError or not isinstance(name, str) or not name.isidentifier():
            return
        with contextlib.suppress(Exception):
            said = " ".join((error.msg, *getattr(error, "__notes__", ())))
            if "%rpc_pip" in said or own_spec(name, self._finder) is not None:
                return
            what = self._distributions.get(name, name)
            error.add_note(f"The session's machine has no such library: %rpc_pip install {what}")


def _location(own: ModuleSpec | None) -> Path | None:
    """Return a module's file, or its package's folder, as a listing needs it."""
    if own is None:
        return None
    folders = own.submodule_search_locations
    if own.origin is not None and own.has_location:
        file = Path(own.origin)
        return None if file.suffix != ".py" else file.parent if folders is not None else file
    return Path(next(iter(folders))) if folders is not None and len(list(folders)) == 1 else None
