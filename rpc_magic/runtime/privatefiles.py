"""Files of this user's alone that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["writing"]


@contextlib.contextmanager
def writing(path: Path, *, replace: bool = True) -> Iterator[BinaryIO]:
    """Write a file of mode 0600 beside `path`, and put it there in one step when the block ends well.

    Args:
        path: of the file; its folder exists.
        replace: take the place of a file that is there. Without it, of two programs that write at once the first one's
            stays, and nothing is said.

    Raises:
        OSError: it cannot be written; what was there is as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        if replace:
            temporary.replace(path)
        else:
            with contextlib.suppress(FileExistsError):
                os.link(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
