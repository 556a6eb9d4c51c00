"""Declares magics: IPython's decorators in one typed one, and errors made to render themselves on the way out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast

from IPython.core.magic import line_cell_magic, line_magic, no_var_expand, output_can_be_silenced
from IPython.core.magic_arguments import argument, magic_arguments

from rpc_magic.notebook.errors import prepare

__all__ = ["SERVER", "SERVER_NAME", "Argument", "for_both", "for_lines", "plain_magic"]

F = TypeVar("F", bound=Callable[..., Any])


class Argument:
    """An argument of a magic, as `argparse` takes it."""

    def __init__(self, *names: str, **options: Any) -> None:
        self.names, self.options = names, options


SERVER = Argument("-s", "--server", metavar="NAME", help="the server; without it, the one connected last")
SERVER_NAME = Argument("name", nargs="?", help="the server; without it, the one connected last")


class _Decorator(Protocol):
    def __call__(self, function: F, /) -> F: ...


def for_lines(*arguments: Argument) -> _Decorator:
    """Declare a line magic with these arguments; without any, the magic reads its line itself."""

    def declare(function: F) -> F:
        return cast("F", _declared(line_magic(plain_magic(function)), arguments))

    return declare


def for_both(*arguments: Argument) -> _Decorator:
    """Declare a magic for lines and cells; a trailing semicolon silences its value."""

    def declare(function: F) -> F:
        return cast("F", _declared(output_can_be_silenced(line_cell_magic(plain_magic(function))), arguments))

    return declare


def plain_magic(function: F) -> F:
    """Make a function fit for a magic: nothing in its line is expanded, and its errors render themselves."""

    @functools.wraps(function)
    def magic(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except BaseException as error:
            prepare(error)
            raise

    return cast("F", no_var_expand(magic))


def _declared(function: Any, arguments: tuple[Argument, ...]) -> Any:
    if not arguments:
        return function
    for one in reversed(arguments):
        function = argument(*one.names, **one.options)(function)
    return magic_arguments()(function)
