"""Makes what user code hands to a front end into plain data that a message can carry.

MIME bundles, metadata and comm data come from code of any quality: numpy numbers, dates, keys that are no
strings, text with lone surrogates. All of it becomes None, bool, int, float, str, bytes, list and dict here;
what has no plain form becomes its text, so that showing something never fails for that reason.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time
from typing import Any

__all__ = ["plain", "plain_text"]

# msgpack's whole numbers end here; larger ones become floats, as they would in a browser.
_LARGEST_INT = 2**64
_SMALLEST_INT = -(2**63)
# Deeper than any bundle that a front end would show; guards against structures that contain themselves.
_DEEPEST = 100


def plain_text(text: str) -> str:
    """Return `text` as text that UTF-8 can carry: a lone surrogate is shown as its escape."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode("utf-8")
    return text


def plain(value: Any, depth: int = 0) -> Any:  # noqa: PLR0911 - one line for each kind of value
    """Return `value` as plain data; `bytes` stay bytes.

    Args:
        value: anything.
        depth: how deep inside the outermost value it is.
    """
    kind = type(value)
    if value is None or kind is bool or kind is float or kind is bytes:
        return value
    if isinstance(value, str):
        return plain_text(str(value))
    if isinstance(value, int):
        return int(value) if _SMALLEST_INT <= value < _LARGEST_INT else float(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    if depth >= _DEEPEST:
        return "…"
    if isinstance(value, Mapping):
        return {plain_text(str(key)): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple, AbstractSet)):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    to_python = getattr(value, "tolist", None) or getattr(value, "item", None)  # numpy arrays and numbers
    if callable(to_python):
        return plain(to_python(), depth + 1)
    return plain_text(str(value))
