"""Comms that any thread may use, and that hear the page while a cell runs.

A comm of ipykernel 7 has what the page says handled where the comm was last used: by the thread that runs the cells,
which hears nothing while one runs. These comms publish by the kernel's session themselves, so the page chooses, and
JupyterLab from 4.4 on gives comms a thread of their own. With ipykernel 6, and with older pages, what the page says
waits for the end of the cell as ever. So handlers run on any thread.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import comm
from comm.base_comm import BaseComm
from IPython.core.getipython import get_ipython

__all__ = ["LiveWidget", "create_comm", "hears_while_busy", "kernel_here", "live", "on_main_thread"]


def kernel_here() -> Any:
    """Return the kernel that this process is; None in a terminal."""
    return getattr(get_ipython(), "kernel", None)


def hears_while_busy(kernel: Any) -> bool:
    """Tell whether what the page says is heard while a cell runs: whether it has asked for a thread for that."""
    with contextlib.suppress(Exception):  # older kernels know no such threads
        return bool(kernel.shell_channel_thread.manager.list_subshell())
    return False


def on_main_thread(work: Callable[[], None]) -> None:
    """Have something done by the thread that runs the cells: now, if it is this one, else between cells."""
    kernel = kernel_here()
    if kernel is None or threading.current_thread() is threading.main_thread():
        work()
    else:
        kernel.io_loop.add_callback(work)


class _LiveComm(BaseComm):  # type: ignore[misc]  # comm ships no types
    """See the module's text.

    Args:
        kernel: the kernel.
        parent: the message that caused the cell in which it was made; what is published belongs to that.
        keys: as for any comm.
    """

    def __init__(self, kernel: Any, parent: dict[str, Any], **keys: Any) -> None:
        self._kernel, self._parent = kernel, parent
        super().__init__(**keys)

    def publish_msg(
        self,
        msg_type: str,
        data: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        buffers: Sequence[Any] | None = None,
        **keys: Any,
    ) -> None:
        """Send one message; any thread."""
        self._kernel.session.send(
            self._kernel.iopub_socket,
            msg_type,
            {"data": data or {}, "comm_id": self.comm_id, **keys},
            metadata=metadata or {},
            parent=self._parent,
            ident=self.topic,
            buffers=buffers,
        )


def create_comm(**keys: Any) -> Any:
    """Make a comm as ``comm.create_comm`` does; in a kernel, one that is live."""
    kernel = kernel_here()
    if kernel is None or getattr(kernel, "iopub_socket", None) is None:
        return comm.create_comm(**keys)
    parent = kernel.get_parent() or {}
    return _LiveComm(kernel, {key: parent.get(key, {}) for key in ("header", "metadata")}, **keys)


class LiveWidget:
    """Mixed into a class of ipywidgets, before it: its comm is live."""

    def open(self: Any) -> None:
        """Tell the page of the widget, once."""
        if self.comm is None:
            from ipywidgets import __protocol_version__
            from ipywidgets.widgets.widget import _remove_buffers  # its own `open` has no other way

            state, paths, buffers = _remove_buffers(self.get_state())
            self.comm = create_comm(
                target_name="jupyter.widget",
                data={"state": state, "buffer_paths": paths},
                metadata={"version": __protocol_version__},
                buffers=buffers,
            )


def live(kind: type) -> Any:
    """Return a class of ipywidgets whose comm is live."""
    return type(kind.__name__, (LiveWidget, kind), {})
