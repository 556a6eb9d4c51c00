"""What other packages look at to find out that they run in a notebook's kernel.

- ``get_ipython().kernel`` with ``get_parent()``: ipywidgets' Output, plotly, holoviews.
- ``"ipykernel.zmqshell" in sys.modules``: tqdm 4.70; earlier ones look for ``"IPKernelApp"`` in the shell's
  config.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Any

__all__ = ["SessionKernel", "announce"]

_NAME = "ipykernel.zmqshell"


class _NoSession:
    """Stands for a kernel's ZMQ session: names it, and sends nothing."""

    def __init__(self) -> None:
        self.session = "rpc_magic"
        self.username = "rpc_magic"
        self.bsession = b"rpc_magic"

    def send(self, *_: object, **__: object) -> None:
        """Send nothing: a session's messages go through its display publisher and comms."""


class SessionKernel:
    """Answers what packages ask a kernel.

    Attributes:
        shell: the session's shell.
        comm_manager: of the session's comms.
        session: names a session.
    """

    implementation = "rpc_magic"
    iopub_socket = None
    iopub_thread = None
    eventloop = None

    def __init__(self, shell: Any, comm_manager: Any) -> None:
        self.shell = shell
        self.comm_manager = comm_manager
        self.session = _NoSession()

    def get_parent(self, channel: str | None = None) -> dict[str, Any]:  # noqa: ARG002 - as ipykernel has it
        """Return the notebook message that caused what runs now; empty outside notebooks."""
        parent: dict[str, Any] = self.shell.get_parent()
        return parent

    @property
    def _parent_header(self) -> dict[str, Any]:
        return self.get_parent()


class _StandIn(ModuleType):
    """Takes the place of ``ipykernel.zmqshell``; what it lacks comes from the real module, if installed."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if "_real" not in self.__dict__:
            self.__dict__["_real"] = _load_real()
        return getattr(self.__dict__["_real"], name)


def _load_real() -> ModuleType | None:
    package = importlib.util.find_spec("ipykernel")
    if package is None:
        return None
    importlib.import_module("ipykernel")
    spec = importlib.machinery.PathFinder.find_spec(_NAME, package.submodule_search_locations)
    if spec is None or spec.loader is None:
        return None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def announce(shell_class: type, publisher_class: type, displayhook_class: type) -> None:
    """Let packages that look for ipykernel's shell module find our classes there."""
    if _NAME in sys.modules:
        return
    module = _StandIn(_NAME, "Stands in for ipykernel's module in an rpc_magic session.")
    module.ZMQInteractiveShell = shell_class  # type: ignore[attr-defined]
    module.ZMQDisplayPublisher = publisher_class  # type: ignore[attr-defined]
    module.ZMQShellDisplayHook = displayhook_class  # type: ignore[attr-defined]
    sys.modules[_NAME] = module
