"""Tab completion on the lines of our magics: options, servers, variables, settings and their values."""

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
_VARIABLES = frozenset({"-i", "--input", "-o", "--output"})
_NAMED = ("rpc_disconnect", "rpc_interrupt", "rpc_restart", "rpc_sessions")
_PIP = ("install", "uninstall", "list", "show", "freeze", "check")
_LINE = re.compile(r"(?:.*=\s*)?%%?(\w+)\s+(.*)", re.DOTALL)


class Completer:
    """Completes; registered for IPython's hook ``complete_command``.

    Args:
        registry: the connected servers.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def __call__(self, shell: Any, event: Any) -> list[str]:
        """Return completions of the word at the cursor."""
        match = _LINE.match(event.line)
        if match is None:
            return []
        magic, words = match[1], match[2].split()
        last = "" if event.line.endswith((" ", "\t")) else (words.pop() if words else "")
        if words[-1:] in (["-s"], ["--server"]) or (magic in _NAMED and not last.startswith("-")):
            choices: tuple[str, ...] = tuple(self._registry.servers)
        elif words[-1:] and words[-1] in _VARIABLES:
            last = last.rpartition(",")[2]
            choices = tuple(name for name in shell.user_ns if last or not name.startswith("_"))
        elif magic == "rpc_config":
            choices = (
                tuple(Config.keys()) if not words else Config.examples(words[0]) if not words[1:] else ()
            )
        elif magic == "rpc_pip" and not words and not last.startswith("-"):
            choices = _PIP
        elif last.startswith("-"):
            choices = _OPTIONS.get(magic, ("-s",))
        else:
            return []
        return [choice for choice in choices if choice.startswith(last)]
