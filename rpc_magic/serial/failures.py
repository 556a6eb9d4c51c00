"""Exceptions that travel as well as they can: what hangs on them and cannot travel stays behind."""

from __future__ import annotations

import contextlib
from typing import Any

from rpc_magic.serial import build_types
from rpc_magic.serial.codec import decode, encode
from rpc_magic.serial.encoding import CodeMode
from rpc_magic.serial.segments import Buffer

__all__ = ["encode_error"]

_CHAIN = 20
"""Causes and contexts that are kept when the whole chain cannot travel."""


def encode_error(
    error: BaseException,
    *,
    namespace: dict[str, Any] | None = None,
    code: CodeMode = "bytecode",
) -> list[Buffer]:
    """Turn an exception into buffers; never raises an `Exception`.

    Args:
        error: the exception. Its traceback does not travel.
        namespace: the user's global namespace, as for `encode`.
        code: how functions travel, as for `encode`.

    Returns:
        Buffers for `decode`: of the exception as it is or, when that cannot travel, without the attributes,
        arguments, causes and contexts that cannot. Empty when even its class and the rest cannot: then only
        its text is left to send.
    """
    for candidate in (error, _Reduced(error, namespace, code)):
        with contextlib.suppress(Exception, SystemExit):
            buffers = encode(candidate, namespace=namespace, carry=False, code=code)
            if _is_plain(error) or isinstance(decode(buffers, namespace=namespace), BaseException):
                return buffers
    return []


def _is_plain(error: BaseException) -> bool:
    """Tell whether an exception and its chain are made by our constructor, which cannot fail on arrival."""
    for _ in range(_CHAIN):
        cls = type(error)
        if cls.__module__ != "builtins" or cls.__reduce__ is not BaseException.__reduce__ or error.__dict__:
            return False
        following = error.__cause__ or error.__context__
        if following is None:
            return all(type(value) in (str, int, float, bool, type(None)) for value in error.args)
        error = following
    return False


class _Reduced:
    """Stands in a stream for an exception without the parts that cannot travel.

    Args:
        error: the exception.
        namespace: as for `encode`.
        code: as for `encode`.
        depth: how many causes and contexts lie above it.
    """

    def __init__(
        self, error: BaseException, namespace: dict[str, Any] | None, code: CodeMode, depth: int = 0
    ) -> None:
        self._error, self._namespace, self._code, self._depth = error, namespace, code, depth

    def _travels(self, value: object) -> bool:
        try:
            decode(
                encode(value, namespace=self._namespace, carry=False, code=self._code),
                namespace=self._namespace,
            )
        except (Exception, SystemExit):  # noqa: BLE001  # a value's own code may raise anything; then it stays behind
            return False
        return True

    def _argument(self, value: Any) -> Any:
        if self._travels(value):
            return value
        try:
            return repr(value)[:200]
        except (Exception, SystemExit):  # noqa: BLE001  # a hostile __repr__
            return f"<{type(value).__name__}>"

    def _link(self, other: BaseException | None) -> _Reduced | None:
        if other is None or self._depth >= _CHAIN:
            return None
        return _Reduced(other, self._namespace, self._code, self._depth + 1)

    def __reduce__(self) -> tuple[Any, ...]:
        error = self._error
        args = tuple(self._argument(value) for value in error.args)
        cls = type(error)
        attributes = {name: value for name, value in error.__dict__.items() if self._travels(value)}
        state = (
            attributes,
            args,
            self._link(error.__cause__),
            self._link(error.__context__),
            error.__suppress_context__,
            None,
        )
        return build_types.make_exception, (cls, args), state, None, None, build_types.set_exception
