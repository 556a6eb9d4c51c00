"""Reads the lines of our magics: every mistake is a `UsageError` of one sentence."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Callable
from typing import Any

from IPython.core.error import UsageError as IPythonUsageError
from IPython.core.magic_arguments import parse_argstring

from rpc_magic.notebook.errors import UsageError

__all__ = ["as_identifier", "names_of", "read_command", "read_expression", "read_line", "seconds_of"]

_COMMA = re.compile(r"\s*,\s*")
_SERVER = re.compile(r"(?:-s|--server)(?:\s+|=)(\S+)\s*")


def read_line(magic: Callable[..., Any], line: str) -> Any:
    """Return the arguments of a magic's line.

    Raises:
        UsageError: they are not as its help says.
    """
    text = _COMMA.sub(",", line.strip())
    name = getattr(magic, "__name__", "magic")
    try:
        arguments = parse_argstring(magic, text)
    except (IPythonUsageError, ValueError) as error:
        raise UsageError(f"%{name}: {error}; %{name}? shows how it is used") from None
    for key, value in vars(arguments).items():
        if isinstance(value, str):
            setattr(arguments, key, _unquoted(value))
        elif isinstance(value, list):
            setattr(arguments, key, [_unquoted(item) for item in value])
    return arguments


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def names_of(text: str | None, option: str) -> tuple[str, ...] | None:
    """Return the variables in ``a,b``; None for an option that was not given.

    Raises:
        UsageError: one of them is no name.
    """
    if text is None:
        return None
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    for name in names:
        if not name.isidentifier():
            raise UsageError(f"{option} takes names of variables separated by commas; {name!r} is none")
    return names


def seconds_of(text: str | None) -> float | None:
    """Return a number of seconds.

    Raises:
        UsageError: it is none, or not above zero.
    """
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise UsageError(f"--timeout takes a number of seconds above 0, not {text!r}")
    return seconds


def as_identifier(text: str) -> str:
    """Return a name for a server that a magic can have, made from any text."""
    name = re.sub(r"\W+", "_", text).strip("_")
    return name if name and not name[0].isdigit() else f"server_{name}".rstrip("_")


def read_expression(line: str) -> tuple[str | None, str]:
    """Split the line of ``%rpc_call [-s NAME] [--] EXPRESSION`` into server and expression.

    Raises:
        UsageError: there is no expression, or another option.
    """
    text = line.strip()
    server = None
    match = _SERVER.match(text)
    if match is not None:
        server, text = match[1], text[match.end() :]
    if text == "--" or text.startswith("-- "):
        text = text[2:].strip()
    elif text.startswith("-") and not _is_expression(text):
        raise UsageError(
            f"%rpc_call takes -s NAME and one expression, not {text.split()[0]!r}; other options belong to the cell "
            "magic %%rpc_call"
        )
    if not text:
        raise UsageError("%rpc_call needs an expression, as: y = %rpc_call f(x)")
    return server, text


def read_command(line: str, program: str, example: str) -> tuple[str | None, list[str]]:
    """Split the line of a magic that runs a program there, ``[-s NAME] ARGUMENTS``, into server and arguments.

    Raises:
        UsageError: there are no arguments, or a quote is not closed.
    """
    text = line.strip()
    server = None
    match = _SERVER.match(text)
    if match is not None:
        server, text = match[1], text[match.end() :]
    try:
        arguments = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"%rpc_{program}: {error}") from None
    if not arguments:
        raise UsageError(f"%rpc_{program} takes what {program} takes, as: {example}")
    return server, arguments


def _is_expression(text: str) -> bool:
    try:
        ast.parse(text, mode="eval")
    except (SyntaxError, ValueError):
        return False
    return True
