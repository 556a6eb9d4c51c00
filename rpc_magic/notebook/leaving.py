"""Whether Ctrl-C is Stop, or the kernel is to end: Jupyter interrupts a kernel before it ends or restarts it.

A remote cell is to be stopped by the one, and to run on after the other. The request to end follows the interrupt at
once, on another channel, which a thread of its own reads while a cell runs; so it is waited for, a moment.
"""

from __future__ import annotations

import time
from typing import Any

__all__ = ["is_leaving"]

_SECONDS = 0.3
"""How long the request to end may take to come; by so much Stop is later. Measured: 1 ms, more under load."""
_LOOK = 0.01
"""Seconds between two looks."""


def is_leaving(shell: Any) -> bool:
    """Tell whether a kernel that was interrupted a moment ago is to end; False in a terminal, which asks nobody."""
    if getattr(shell, "kernel", None) is None:
        return False
    deadline = time.monotonic() + _SECONDS
    while not shell.exit_now:
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK)
    return True
