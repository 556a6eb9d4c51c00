"""The file names that cells get: those that a kernel gives them.

Warnings, ``repr`` of tasks, ``co_filename`` and the text of a SyntaxError show them. A cell has the name that it has
when it runs in the notebook's kernel, but for the process's number in the folder's: both are made from the cell's
text alone.
"""

from __future__ import annotations

import os
import re
import struct
import tempfile

__all__ = ["FILE_NAME", "cell_file"]

FILE_NAME = re.compile(r'[^"\n]*/ipykernel_\d+/\d+\.py')
"""What the names look like."""

_SEED = 0xC70F6907
_FACTOR = 0x5BD1E995
_WORD = 0xFFFFFFFF


def cell_file(text: str) -> str:
    """Return the name of a cell's file; there is no such file.

    Args:
        text: the cell as the user wrote it, without the magic that sent it here.
    """
    return (
        f"{tempfile.gettempdir()}/ipykernel_{os.getpid()}/{_murmur2(text.encode(errors='surrogatepass'))}.py"
    )


def _murmur2(data: bytes) -> int:
    """Return the 32 bit MurmurHash2 (Austin Appleby) by which ipykernel and debuggers know a cell."""
    state = (_SEED ^ len(data)) & _WORD
    whole = len(data) & ~3
    for (block,) in struct.iter_unpack("<I", data[:whole]):
        mixed = block * _FACTOR & _WORD
        mixed = (mixed ^ mixed >> 24) * _FACTOR & _WORD
        state = state * _FACTOR & _WORD ^ mixed
    if len(data) > whole:
        state = (state ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _WORD
    state = (state ^ state >> 13) * _FACTOR & _WORD
    return state ^ state >> 15
