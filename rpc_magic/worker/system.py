"""Linux facts that Python has no call for."""

from __future__ import annotations

import ctypes
import fcntl
import signal
import sys
import termios

__all__ = ["become_subreaper", "die_with_parent", "waiting_bytes"]

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>


def become_subreaper() -> None:
    """Make orphaned descendants this process's children (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Be killed when the thread that forked this process ends (PR_SET_PDEATHSIG): the keeper has one thread."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def waiting_bytes(pipe: int) -> int:
    """Return how many bytes wait in a pipe; works on either end of it (FIONREAD, pipe(7))."""
    answer = bytearray(4)
    fcntl.ioctl(pipe, termios.FIONREAD, answer)
    return int.from_bytes(answer, sys.byteorder)
