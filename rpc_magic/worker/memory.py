"""How much memory a session may take, and whether memory was what ended it.

Where the system lets this user make a control group (cgroup v2 with its memory controller), the kernel keeps the limit
and ends the whole group. Elsewhere the keeper looks at the resident size of the session's processes a few times a
second; what is allocated in between comes on top. No limit is set on addresses (RLIMIT_AS): CUDA and memory-mapped
files reserve far more of them than they use.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterable
from pathlib import Path

__all__ = ["LOOK_SECONDS", "MemoryLimit", "family", "oom_kills", "resident"]

LOOK_SECONDS = 0.2
"""Between two looks at the resident size."""

_PROC, _GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def family(pids: Iterable[int], proc: Path = _PROC) -> set[int]:
    """Return processes and all their descendants."""
    found: set[int] = set()
    waiting = list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            for task in (proc / str(pid) / "task").glob("*/children"):
                with contextlib.suppress(OSError):  # it has just ended
                    waiting += map(int, task.read_text().split())
    return found


def resident(pids: Iterable[int], proc: Path = _PROC) -> int:
    """Return the bytes in memory of processes and all their descendants; what they share counts for each."""
    pages = 0
    for pid in family(pids, proc):
        with contextlib.suppress(OSError, ValueError, IndexError):
            pages += int((proc / str(pid) / "statm").read_text().split()[1])
    return pages * mmap.PAGESIZE


def oom_kills(proc: Path = _PROC) -> int:
    """Return how many processes of this machine the kernel has killed because memory ran out; 0 if it does not tell."""
    with contextlib.suppress(OSError, ValueError):
        for line in (proc / "vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


class MemoryLimit:
    """The limit of one session; the keeper's.

    Args:
        limit: bytes; 0 for none.
        name: of the session's control group.
        proc, groups: where the system's files are.

    Attributes:
        is_over: the session was over its limit when it was looked at.
    """

    def __init__(self, limit: int, name: str, proc: Path = _PROC, groups: Path = _GROUPS) -> None:
        self._limit, self._proc = limit, proc
        self._killed = oom_kills(proc)
        self._group = _make_group(limit, name, proc, groups) if limit else None
        self.is_over = False

    @property
    def is_watched(self) -> bool:
        """True when the keeper has to look."""
        return bool(self._limit) and self._group is None

    def add(self, pid: int) -> None:
        """Have a process that was just forked count, with all that it will fork."""
        if self._group is not None:
            try:
                (self._group / "cgroup.procs").write_text(str(pid))
            except OSError:  # not ours to move: look instead
                self.close()

    def look(self, pids: Iterable[int]) -> bool:
        """Look at the processes of the session; tell whether they are over the limit."""
        self.is_over = self.is_over or (self.is_watched and resident(pids, self._proc) > self._limit)
        return self.is_over

    def explain(self) -> str:
        """Return why a process was killed that nobody here has killed, one clause; empty when it was not for memory."""
        if self.is_over or self._group_kills():
            return f"ran out of memory: limit {_human(self._limit)}, of --memory-limit"
        if oom_kills(self._proc) > self._killed:
            return "the machine ran out of memory"
        return ""

    def close(self) -> None:
        """End what is left in the group, and remove it."""
        group, self._group = self._group, None
        if group is not None:
            with contextlib.suppress(OSError):
                (group / "cgroup.kill").write_text("1")
            with contextlib.suppress(OSError):
                group.rmdir()

    def _group_kills(self) -> int:
        if self._group is not None:
            with contextlib.suppress(OSError, ValueError):
                events = dict(
                    line.split() for line in (self._group / "memory.events").read_text().splitlines()
                )
                return int(events.get("oom_kill", "0"))
        return 0


def _make_group(limit: int, name: str, proc: Path, groups: Path) -> Path | None:
    """Make a control group below this process's own; None where that is not permitted."""
    with contextlib.suppress(OSError):
        own = next(
            (
                line[3:]
                for line in (proc / "self" / "cgroup").read_text().splitlines()
                if line.startswith("0::")
            ),
            None,
        )
        parent = groups / own.strip("/") if own is not None else groups
        if own is None or "memory" not in (parent / "cgroup.subtree_control").read_text().split():
            return None
        group = parent / name
        group.mkdir()
        try:
            (group / "memory.max").write_text(str(limit))
            for file, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
                with contextlib.suppress(OSError):
                    (group / file).write_text(value)
        except OSError:
            group.rmdir()
            raise
        return group
    return None


def _human(size: int) -> str:
    """Return a number of bytes as it is given on the command line."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size >= unit:
            return f"{size / unit:.4g} {name}"
    return f"{size} B"
