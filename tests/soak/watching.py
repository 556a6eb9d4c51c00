"""Watches the processes of a run: their memory, descriptors and threads, over time.

What grows for ever is told from what warms up by looking at the last two thirds of a process's life: the median of
the last third must not be above that of the third before by more than a stated amount.
"""

from __future__ import annotations

import os
import statistics
import threading
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple, Self

import psutil

__all__ = ["Growth", "Watch", "processes"]

_KINDS = (
    ("rpc_magic.server", "supervisor"),
    ("rpc_magic.worker.program", "program"),
    ("clients.py", "client"),
)
_ENOUGH = 9
"""Samples without which nothing is said of a process."""


class Growth(NamedTuple):
    """What a process has more of at the end than in the middle: bytes of memory, descriptors, threads."""

    memory: int
    descriptors: int
    threads: int


def processes() -> dict[int, str]:
    """Return the processes of this run and what they are: they have inherited its runtime folder."""
    mark = b"RPC_MAGIC_RUNTIME_DIR=" + os.fsencode(os.environ["RPC_MAGIC_RUNTIME_DIR"])
    found: dict[int, tuple[int, str]] = {}
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and mark in Path(f"/proc/{process.pid}/environ").read_bytes().split(
                b"\0"
            ):
                found[process.pid] = process.ppid(), " ".join(process.cmdline())
        except (OSError, psutil.Error):
            continue  # it has ended, or is another user's
    keepers = {pid for pid, (_, command) in found.items() if "rpc_magic.worker.keeper" in command}
    kinds = {}
    for pid, (parent, command) in found.items():
        if pid in keepers:
            kinds[pid] = "worker" if parent in keepers else "keeper"
        else:
            kinds[pid] = next((kind for name, kind in _KINDS if name in command), command)
    return kinds


class Watch:
    """Takes samples until it is left.

    Args:
        every: seconds between two samples.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._over = threading.Event()
        self._samples: dict[tuple[str, int], list[Growth]] = defaultdict(list)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            for pid, kind in processes().items():
                try:
                    process = psutil.Process(pid)
                    with process.oneshot():
                        sample = Growth(process.memory_info().rss, process.num_fds(), process.num_threads())
                except (OSError, psutil.Error):
                    continue
                self._samples[kind, pid].append(sample)

    def grown(self) -> dict[str, Growth]:
        """Return for each kind of process the most that one of them has grown by."""
        grown: dict[str, Growth] = {}
        for (kind, _), samples in self._samples.items():
            if len(samples) >= _ENOUGH:
                third = len(samples) // 3
                middle, last = _median(samples[third : 2 * third]), _median(samples[2 * third :])
                most = grown.get(kind, Growth(0, 0, 0))
                grown[kind] = Growth(*(max(m, b - a) for m, a, b in zip(most, middle, last, strict=True)))
        return grown

    def sizes(self) -> dict[str, list[int]]:
        """Return the memory of the process of each kind that lived longest, in MiB, over time."""
        longest: dict[str, list[Growth]] = {}
        for (kind, _), samples in self._samples.items():
            longest[kind] = max(longest.get(kind, []), samples, key=len)
        return {kind: [one.memory >> 20 for one in s[:: max(1, len(s) // 12)]] for kind, s in longest.items()}


def _median(samples: list[Growth]) -> Growth:
    return Growth(*(int(statistics.median(values)) for values in zip(*samples, strict=True)))
