"""Messages that are larger than a frame may hold, as the repr of something huge makes them: cut, with a mark.

Objects travel as buffers; what grows in a message is text: of outputs, of errors, of what is told of a value that
stays. A text is cut at its end. What would be broken by that, as HTML or a picture, is left out as a whole.
"""

from __future__ import annotations

from typing import Any

import msgspec

from rpc_magic.settings import WireLimits
from rpc_magic.wire import messages

__all__ = ["encode_fitting"]

_LIMIT = WireLimits().message
_TEXT = 1 << 20
"""Characters of each text that are kept in a message that is cut."""

_PLAIN = "text/plain"


def encode_fitting(message: messages.Message) -> bytes:
    """Return a message encoded; one that is over the limit is cut, or another one that says so."""
    encoded = messages.encode(message)
    if len(encoded) <= _LIMIT:
        return encoded
    shorter = messages.encode(_cut(message))
    if len(shorter) <= _LIMIT:
        return shorter
    text = f"{len(encoded):,} bytes are left out: the limit of a message is {_LIMIT:,}"
    if isinstance(message, messages.Outcome):
        kind = f"{type(message).__module__}.{type(message).__name__}"
        return messages.encode(messages.Failed(messages.ErrorRecord("error", kind, text, "")))
    return messages.encode(messages.Stream("stderr", f"[{text}]\n"))


def _cut(value: Any, key: Any = _PLAIN) -> Any:
    """Return a part of a message with its long texts cut."""
    if isinstance(value, str) and len(value) > _TEXT:
        mark = f"[{len(value) - _TEXT:,} characters are left out: the limit of a message is {_LIMIT:,} bytes]"
        return f"{value[:_TEXT]}\n{mark}"
    if isinstance(value, msgspec.Struct):
        fields = {name: _cut(getattr(value, name)) for name in value.__struct_fields__}
        return type(value)(**fields)
    if isinstance(value, dict):
        return {k: _cut(v, k) for k, v in value.items() if k == _PLAIN or not _is_large(v)}
    if isinstance(value, (list, tuple)):
        return type(value)(_cut(item, key) for item in value)
    return value


def _is_large(value: Any) -> bool:
    return isinstance(value, (str, bytes)) and len(value) > _TEXT
