"""The folder and the environment of a process, as cells have set them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

__all__ = ["Environment", "read_folder", "write_folder"]


def read_folder(_: Any) -> Any:
    """Return the current folder; None where it is gone."""
    with contextlib.suppress(OSError):
        return str(Path.cwd())
    return None


def write_folder(_: Any, folder: str | None) -> None:
    """Go to a folder, if it is there."""
    if folder is not None:
        os.chdir(folder)


class Environment:
    """What has been changed in the environment since this object was made: a dict, with None for what was deleted."""

    def __init__(self) -> None:
        self._first = dict(os.environ)

    def read(self, _: Any) -> dict[str, str | None]:
        """Return what has been changed."""
        now = dict(os.environ)
        changed: dict[str, str | None] = {k: v for k, v in now.items() if self._first.get(k) != v}
        return {**changed, **dict.fromkeys(self._first.keys() - now.keys())}

    def write(self, _: Any, changed: dict[str, str | None]) -> None:
        """Make it so that just this has been changed."""
        for name in {*self.read(None), *changed}:
            value = changed.get(name, None if name in changed else self._first.get(name))
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
