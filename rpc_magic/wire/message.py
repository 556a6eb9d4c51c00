"""The base of all messages of a data connection."""

from __future__ import annotations

import msgspec

__all__ = ["Message"]


class Message(msgspec.Struct, frozen=True, array_like=True, tag_field="t"):
    """Base of everything that is said on a data connection."""
