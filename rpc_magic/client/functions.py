"""The exposed functions of a server, as attributes."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING, Any

from rpc_magic.client.calls import Call
from rpc_magic.errors import UnknownFunctionError
from rpc_magic.wire import messages
from rpc_magic.wire.handshake import Role

if TYPE_CHECKING:
    from rpc_magic.client.connection import Connection

__all__ = ["Functions", "RemoteFunction"]


class _AsWritten:
    """Stands for a default or an annotation that is known by its text alone."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class RemoteFunction:
    """A function that a server exposes; call it, or `submit` it.

    Has the signature and the docstring of the function there, for ``?`` and completion.
    """

    def __init__(self, connection: Connection, info: messages.FunctionInfo) -> None:
        self._connection = connection
        self.__name__ = self.__qualname__ = info.name
        self.__doc__ = info.doc or None
        self.__signature__ = _signature(info.signature)
        self._text = info.signature

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call it; see `Connection.call`."""
        return self._connection.call(self.__name__, *args, **kwargs)

    def submit(self, *args: Any, **kwargs: Any) -> Call:
        """Call it without waiting."""
        return self._connection.submit(self.__name__, *args, **kwargs)

    def __repr__(self) -> str:
        return f"<RemoteFunction {self.__name__}{self._text} on {self._connection.name}>"


class Functions:
    """The exposed functions of a server: ``conn.functions.add(2, 3)``; ``dir()`` lists them."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self) -> dict[str, RemoteFunction]:
        """Return all exposed functions by name, as they are now."""
        connection = self._connection
        if not connection.attachment.welcome.has_functions:
            return {}
        link = connection.attachment.link(Role.FUNCTIONS)
        end = connection.exchange.run(link, messages.ListFunctions())
        if end.is_missed:
            raise KeyboardInterrupt
        assert isinstance(end.outcome, messages.FunctionList)
        return {info.name: RemoteFunction(connection, info) for info in end.outcome.functions}

    def __getattr__(self, name: str) -> RemoteFunction:
        if name.startswith(("_ipython_", "_repr_", "__")):
            raise AttributeError(name)
        found = self.all()
        if name in found:
            return found[name]
        import difflib

        near = tuple(difflib.get_close_matches(name, found, 3))
        raise _MissingFunctionError(name, near, len(found))

    def __getitem__(self, name: str) -> RemoteFunction:
        return self.__getattr__(name)

    def __dir__(self) -> list[str]:
        return sorted([*self.all(), "all"])

    def __repr__(self) -> str:
        names = ", ".join(self.all())
        return f"<Functions of {self._connection.name}: {names or 'none'}>"


class _MissingFunctionError(UnknownFunctionError, AttributeError):  # type: ignore[misc]  # both have `name`, both texts
    """So that ``hasattr(conn.functions, name)`` answers."""


def _signature(text: str) -> inspect.Signature | None:
    """Read "(a, b=2, *, c: int)" without evaluating any of it; None when it cannot be read."""
    try:
        function = ast.parse(f"def f{text}: ...").body[0]
        assert isinstance(function, ast.FunctionDef)
    except (SyntaxError, ValueError, AssertionError):
        return None
    arguments = function.args
    parameters: list[inspect.Parameter] = []

    def add(one: ast.arg, kind: Any, default: ast.expr | None = None) -> None:
        parameters.append(
            inspect.Parameter(
                one.arg,
                kind,
                default=inspect.Parameter.empty if default is None else _AsWritten(ast.unparse(default)),
                annotation=inspect.Parameter.empty
                if one.annotation is None
                else _AsWritten(ast.unparse(one.annotation)),
            )
        )

    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(positional) - len(arguments.defaults)) + list(arguments.defaults)
    for index, (one, default) in enumerate(zip(positional, defaults, strict=True)):
        is_only = index < len(arguments.posonlyargs)
        add(
            one,
            inspect.Parameter.POSITIONAL_ONLY if is_only else inspect.Parameter.POSITIONAL_OR_KEYWORD,
            default,
        )
    if arguments.vararg:
        add(arguments.vararg, inspect.Parameter.VAR_POSITIONAL)
    for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        add(one, inspect.Parameter.KEYWORD_ONLY, default)
    if arguments.kwarg:
        add(arguments.kwarg, inspect.Parameter.VAR_KEYWORD)
    returns = (
        inspect.Signature.empty if function.returns is None else _AsWritten(ast.unparse(function.returns))
    )
    return inspect.Signature(parameters, return_annotation=returns)
