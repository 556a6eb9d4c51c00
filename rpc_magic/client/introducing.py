"""Who this client is: what it tells of itself when it attaches to a session."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from pathlib import Path

from rpc_magic.runtime.processes import machine_id, python_tag, user_name
from rpc_magic.runtime.versions import own_versions
from rpc_magic.wire import control

__all__ = ["client_info", "is_on_this_machine", "process_id"]

_PROCESS = secrets.token_bytes(16)


def _renew() -> None:
    global _PROCESS
    _PROCESS = secrets.token_bytes(16)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def process_id() -> bytes:
    """Return random bytes that name this process: the same object each time, another one after a fork."""
    return _PROCESS


def is_on_this_machine(welcome: control.Welcome) -> bool:
    """Tell whether the server that has said `welcome` runs on this machine."""
    return welcome.machine == machine_id()


def client_info(welcome: control.Welcome) -> control.ClientInfo:
    """Return what the server that has said `welcome` is told."""
    is_here = is_on_this_machine(welcome)
    is_alike = is_here and welcome.python == python_tag()  # else its packages are no use there
    return control.ClientInfo(
        pid=os.getpid(),
        host=socket.gethostname(),
        user=user_name(),
        python=python_tag(),
        cwd=str(Path.cwd()) if is_here else "",
        path=tuple(str(Path(entry).absolute()) for entry in sys.path) if is_alike else (),
        environ=dict(os.environ) if is_here else {},
        versions=own_versions(),
        process=process_id(),
    )
