"""Messages out of bytes, with one error for whatever is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from rpc_magic.errors import ProtocolError

__all__ = ["decoder"]


def decoder(messages: Any) -> Callable[[bytes], Any]:
    """Return a function that decodes one of `messages`, a union of structs, or raises `ProtocolError`."""
    decode = msgspec.msgpack.Decoder(messages).decode

    def decode_message(data: bytes) -> Any:
        try:
            return decode(data)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError) as error:
            # ValueError: bytes that are no UTF-8. TypeError: a key that cannot be hashed.
            raise ProtocolError(f"a message cannot be read: {error}") from error

    return decode_message
