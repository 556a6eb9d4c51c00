"""What faulthandler writes when a session's process dies, without what says nothing to the session's user.

Its stacks go down to the first frame of this process, and through all threads: below the user's code lie IPython and
this package, whose own threads only wait.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

__all__ = ["shorten"]

_OWN = f'  File "{Path(__file__).parents[1]}{os.sep}'
_THREADING = f'  File "{threading.__file__}"'
_CURRENT, _OTHER = "Current thread 0x", "Thread 0x"
_MODULES = "Extension modules: "


def shorten(words: str) -> str:
    """Return last words in which each stack ends with the user's code; all else is left as it is."""
    lines: list[str] = []
    rest = iter(words.splitlines())
    for line in rest:
        if not line.startswith((_CURRENT, _OTHER)):
            if not line.startswith(_MODULES):
                lines.append(line)
            continue
        frames = []
        after = ""
        for after in rest:
            if not after.startswith("  "):
                break
            frames.append(after)
        else:
            after = ""
        theirs = _until_ours(frames)
        if line.startswith(_CURRENT):
            lines += [line, *(theirs or frames), after]
        elif not all(frame.startswith(_THREADING) for frame in theirs):
            lines += [line, *theirs, after]
    return "\n".join(lines).strip()


def _until_ours(frames: list[str]) -> list[str]:
    """Return the frames above the first of this package; the most recent call is the first."""
    for at, frame in enumerate(frames):
        if frame.startswith(_OWN):
            return frames[:at]
    return frames
