"""Facts about processes that need no library: who is alive, and whether it is still the same one."""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import importlib.util
import os
import signal
import socket
import sys
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "Identity",
    "identity_of",
    "interrupt_group",
    "machine_id",
    "parent_of",
    "python_tag",
    "start_time",
    "user_name",
]


def start_time(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 when it is gone or cannot be told.

    Together with the id it names a process for good: ids are used again, moments are not.
    """
    fields = _stat(pid)
    return int(fields[19]) if fields else 0


def parent_of(pid: int) -> int:
    """Return the id of a process's parent; 0 when the process is gone or it cannot be told."""
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def interrupt_group(pid: int) -> None:
    """Send SIGINT to a process, and to those that it has started when it leads a process group.

    Nothing happens when it is gone. So a terminal does it at Ctrl-C, and Jupyter with a kernel: code that waits for a
    child is deaf itself, as in ``os.system``, and a child may want to clean up.
    """
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGINT)
        else:
            os.kill(pid, signal.SIGINT)


def _stat(pid: int) -> list[bytes]:
    """Return what proc_pid_stat(5) tells of a process from its state on; nothing when it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    fields = stat[stat.rindex(b")") + 2 :].split()
    return [] if fields[0] in b"ZX" else fields


class Identity(NamedTuple):
    """A process, told from others that have its id later."""

    pid: int
    started: int

    @property
    def is_alive(self) -> bool:
        """True while it has not ended."""
        return self.started != 0 and start_time(self.pid) == self.started


def identity_of(pid: int) -> Identity:
    """Return the process that has an id now; one that is not alive if there is none."""
    return Identity(pid, start_time(pid))


def machine_id() -> str:
    """Return a text that two processes share exactly when they run on one machine, in one boot and container.

    The environment variable RPC_MAGIC_MACHINE stands for a machine's name: with different ones, two processes of one
    machine behave as if they ran on two (for tests).
    """
    parts = [socket.gethostname(), os.environ.get("RPC_MAGIC_MACHINE", "")]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
    with contextlib.suppress(OSError):
        parts.append(str(Path("/proc/self/ns/mnt").readlink()))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def user_name() -> str:
    """Return the user's name, or its number where it has none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return str(os.getuid()) if hasattr(os, "getuid") else "unknown"


def python_tag() -> tuple[int, int, int]:
    """Return Python's major and minor version and the number of its bytecode format."""
    magic = int.from_bytes(importlib.util.MAGIC_NUMBER[:2], "little")
    return sys.version_info.major, sys.version_info.minor, magic
