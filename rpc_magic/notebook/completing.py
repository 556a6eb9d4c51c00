"""Tab completion on the lines of our magics: option names, and server names after ``-s``."""

from __future__ import annotations

import re
from typing import Any

from rpc_magic.notebook.config import Config
from rpc_magic.notebook.registry import Registry

__all__ = ["Completer"]

_OPTIONS = {
    "rpc_call": ("-s", "-i", "-o", "--noblock", "--timeout", "--local"),
    "rpc_connect": ("--name", "--session", "--token-file", "--take", "--no-widget"),
}
_NAMED = ("rpc_disconnect", "rpc_interrupt", "rpc_restart", "rpc_sessions")
_LINE = re.compile(r"(?:.*=\s*)?%%?(\w+)\s+(.*)", re.DOTALL)


class Completer:
    """Completes; registered for IPython's hook ``complete_command``.

    Args:
        registry: the connected servers.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(self, _: Any, event: Any) -> list[str]:
        """Return completions of the word at the cursor."""
        match = _LINE.match(event.line)
        if match is None:
            return []
        magic, words = match[1], match[2].split()
        last = "" if event.line.endswith((" ", "\t")) else (words.pop() if words else "")
        if words[-1:] in (["-s"], ["--server"]) or (magic in _NAMED and not last.startswith("-")):
            choices: tuple[str, ...] = tuple(self._registry.servers)
        elif magic == "rpc_config" and not words:
            choices = tuple(Config.keys())
        elif last.startswith("-"):
            choices = _OPTIONS.get(magic, ("-s",))
        else:
            return []
        return [choice for choice in choices if choice.startswith(last)]
