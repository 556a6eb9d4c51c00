"""Whether somebody looks at what a notebook shows."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["is_watched"]


def is_watched(shell: Any) -> bool:
    """Tell whether somebody may look at a page: a kernel runs, and nobody said that none does."""
    return hasattr(shell, "kernel") and os.environ.get("RPC_MAGIC_NONINTERACTIVE", "") in {"", "0"}
