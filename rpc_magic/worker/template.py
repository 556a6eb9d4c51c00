"""What workers are forked from: the packages that every session needs, loaded once; and the first steps of a child."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import hashlib
import os
import platform
import random
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import NoReturn

from rpc_magic import serial
from rpc_magic.runtime.folders import runtime_folder
from rpc_magic.wire import internal
from rpc_magic.worker.system import become_subreaper, die_with_parent

__all__ = ["Template"]

_PACKAGES = ("ipython", "dill", "numpy", "pandas", "ipywidgets")


@dataclass(frozen=True)
class Template:
    """A loaded template.

    Attributes:
        versions: of Python and of the packages that matter.
        runtime: the server's runtime folder; a session may have another environment.
    """

    versions: dict[str, str]
    runtime: Path

    @classmethod
    def load(cls) -> Template:
        """Load what workers need. numpy is loaded where it is installed; nothing here is user code."""
        import_module("rpc_magic.worker.worker")
        import_module("rpc_magic.engines.process")
        with contextlib.suppress(ImportError):
            import_module("numpy")
        versions = {"python": platform.python_version()}
        for package in _PACKAGES:
            with contextlib.suppress(metadata.PackageNotFoundError):
                versions[package] = metadata.version(package)
        gc.freeze()  # so that collections in its children neither walk over it nor write to its pages
        return cls(versions, runtime_folder())

    def modules_folder(self, ticket: bytes) -> Path:
        """Return where a session keeps the modules that its client has sent."""
        return self.runtime / f"modules-{hashlib.sha256(ticket).hexdigest()[:16]}"

    def spool_file(self, ticket: bytes) -> Path:
        """Return where the file is made in which waits what a session's client has not received."""
        return self.runtime / f"spool-{hashlib.sha256(ticket).hexdigest()[:16]}"

    def become_worker(self, request: internal.Fork, link: int, own: int, page: int, spool: int) -> NoReturn:
        """In a fresh child: be a session's worker until it ends."""
        from rpc_magic.worker.worker import run_worker

        folder = self.modules_folder(request.ticket)
        self._live(request, lambda: run_worker(request, link, own, page, folder, spool))

    def become_engine(self, request: internal.Fork, sock: socket.socket) -> NoReturn:
        """In a fresh child: be a process of a session's engine until it ends."""
        from rpc_magic.engines.process import run_process

        self._live(request, lambda: run_process(sock, request.payload))

    def _live(self, request: internal.Fork, life: Callable[[], None]) -> NoReturn:
        status = 1
        try:
            _settle_in(request)
            life()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0
        except BaseException:  # noqa: BLE001 - nothing may return into the keeper's loop
            traceback.print_exc(file=sys.__stderr__)
        finally:
            with contextlib.suppress(Exception):
                assert sys.__stderr__ is not None
                sys.__stderr__.flush()
            os._exit(status)


def _settle_in(request: internal.Fork) -> None:
    """Make the child a process of its own: its place, its environment, its sources of randomness."""
    die_with_parent()
    become_subreaper()
    os.setpgid(0, 0)  # Stop is for the processes that user code starts too
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.enable(file=2)
    serial.renew_origin()
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if request.environ:
        os.environ.clear()
        os.environ.update(request.environ)
    if request.path:
        # What the client's Python lacks, this one may have: a server may run in an environment of its own.
        sys.path[:] = [*request.path, *(entry for entry in sys.path if entry not in request.path)]
    try:
        os.chdir(request.cwd)
    except OSError:
        os.chdir("/")
