"""A notebook's settings, as %rpc_config shows and sets them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rpc_magic.client.values import human_size
from rpc_magic.notebook.errors import UsageError
from rpc_magic.runtime.sizes import parse_size
from rpc_magic.settings import ClientSettings, WorkerSettings

__all__ = ["Config"]


def _switch(text: str) -> bool:
    words = {"on": True, "off": False, "true": True, "false": False, "1": True, "0": False}
    if text.lower() not in words:
        raise ValueError("on or off")
    return words[text.lower()]


def _size(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError:
        raise ValueError("a size, as 250MB or a number of bytes") from None


def _count(text: str) -> int:
    if not text.replace("_", "").isdecimal():
        raise ValueError("a number, as 20000")
    return int(text)


_READERS: dict[str, Callable[[str], Any]] = {
    "auto": _switch,
    "upload_warning": _size,
    "eager": _size,
    "output_lines": _count,
    "output_size": _size,
}
_EXAMPLES: dict[Callable[[str], Any], tuple[str, ...]] = {
    _switch: ("on", "off"),
    _size: ("0", "1MB", "100MB", "1GB"),
    _count: ("0", "1000", "100000"),
}
_MEANINGS = {
    "auto": "variables travel by themselves; off leaves it to -i and -o",
    "upload_warning": "above this size of what a cell sends, the size is said first",
    "eager": "plain values up to this size come back at once, others when a cell mentions them",
    "output_lines": "so many lines of what a cell prints are shown, and a tenth as many last ones; 0 shows all",
    "output_size": "the same by size",
}


@dataclass
class Config:
    """The settings.

    Attributes:
        auto: variables are chosen from the cell's text.
        upload_warning: bytes of variables for one cell above which the size is said.
        eager: bytes up to which plain values come back at once.
        output_lines: lines of what a cell prints that are shown before the rest is thinned out; 0 for no limit.
        output_size: the same in characters.
    """

    auto: bool = True
    upload_warning: int = ClientSettings().upload_warning
    eager: int = WorkerSettings().eager
    output_lines: int = ClientSettings().output_lines
    output_size: int = ClientSettings().output_size

    def set(self, key: str, text: str) -> None:
        """Set a setting from what a user typed.

        Raises:
            UsageError: there is no such setting, or it does not take this value.
        """
        self._check(key)
        try:
            setattr(self, key, _READERS[key](text))
        except ValueError as error:
            raise UsageError(f"{key} takes {error}, not {text!r}") from None

    def show(self, key: str = "") -> str:
        """Return one setting, or all, as text.

        Raises:
            UsageError: there is no such setting.
        """
        if key:
            self._check(key)
        lines = []
        for name in [key] if key else _MEANINGS:
            value = getattr(self, name)
            text = ("on" if value else "off") if isinstance(value, bool) else human_size(value)
            text = f"{value:_}" if _READERS[name] is _count else text
            lines.append(f"{name} = {text}  # {_MEANINGS[name]}")
        return "\n".join(lines)

    @staticmethod
    def keys() -> list[str]:
        """Return the names of the settings."""
        return list(_MEANINGS)

    @staticmethod
    def examples(key: str) -> tuple[str, ...]:
        """Return values that a setting takes, for completion; none for a setting that does not exist."""
        return _EXAMPLES[_READERS[key]] if key in _READERS else ()

    def _check(self, key: str) -> None:
        if key not in _MEANINGS:
            raise UsageError(f"there is no setting {key!r}; there are {', '.join(_MEANINGS)}")
