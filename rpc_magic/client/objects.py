"""Objects on their way to the other side: encoded, and named where they cannot travel."""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable
from typing import Any

from rpc_magic import serial
from rpc_magic.client.attachment import Attachment
from rpc_magic.errors import TransferError
from rpc_magic.wire.frames import Buffer

__all__ = ["Objects"]


class Objects:
    """See the module's text. Thread-safe.

    Args:
        attachment: the hold on the server; tells how code travels, and is told which libraries objects belong to.
    """

    def __init__(self, attachment: Attachment) -> None:
        self._attachment = attachment

    @property
    def namespace(self) -> dict[str, Any]:
        """This program's global namespace, whose counterpart is the session's."""
        return sys.modules["__main__"].__dict__

    def encode(
        self,
        value: object,
        *,
        carry: bool = True,
        name: str = "",
        takes_over: serial.TakesOver = serial.by_origin,
    ) -> list[Buffer]:
        """Encode an object for the session; see `rpc_magic.serial.encode`."""
        code = self._attachment.code
        modules: set[str] = set()
        try:
            buffers = serial.encode(
                value,
                namespace=self.namespace,
                carry=carry,
                name=name,
                code=code,
                modules=modules,
                takes_over=takes_over,
            )
        except TransferError as error:
            if not error.reason.startswith("cannot pickle"):
                raise
            reason = f"{error.reason}; make it there, or send what it is made of"
            raise TransferError(error.path, error.type_name, reason) from error.__cause__
        self._attachment.links.libraries.note(modules)
        return buffers

    def encode_arguments(
        self,
        f: Callable[..., Any] | str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        encode: Callable[..., list[Buffer]] | None = None,
    ) -> list[Buffer]:
        """Encode the arguments of `f` together; name the parameter of the one that cannot travel."""
        encode = encode or self.encode
        try:
            return encode((args, kwargs))
        except TransferError as error:
            unnamed = error
        for name, value in _named_arguments(f, args, kwargs).items():
            encode(value, name=name)
        raise unnamed

    def encode_variables(
        self, values: dict[str, Any], *, carry: bool = True, takes_over: serial.TakesOver = serial.by_origin
    ) -> list[Buffer]:
        """Encode variables together, so that what they share stays shared; name the one that cannot travel."""
        try:
            return self.encode(values, carry=carry, takes_over=takes_over)
        except TransferError as error:
            unnamed = error
        for name, value in values.items():
            self.encode(value, carry=carry, name=name)
        raise unnamed


def _named_arguments(
    f: Callable[..., Any] | str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return arguments by the names of their parameters, as far as these are known."""
    if not isinstance(f, str):
        with contextlib.suppress(TypeError, ValueError):  # it has no signature, or they do not fit it
            return dict(inspect.signature(f).bind(*args, **kwargs).arguments)
    return {"args": args, "kwargs": kwargs}
