"""Sizes as people write them."""

from __future__ import annotations

import re

__all__ = ["parse_size"]

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,6})?) *(?:([kmgt]?)(i?)b)?")
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str) -> int:
    """Return the bytes that a text states, as ``500kB``, ``1.5GB``, ``4GiB`` or a number.

    Raises:
        ValueError: it states none.
    """
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is no size")
    number, prefix, is_binary = found.groups()
    return int(float(number) * (1024 if is_binary else 1000) ** _POWERS[prefix or ""])
