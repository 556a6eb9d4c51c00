"""Sizes as people write them."""

from __future__ import annotations

import pytest

from rpc_magic.runtime.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("12", 12),
        ("500kB", 500_000),
        ("1.5 GB", 1_500_000_000),
        ("4GiB", 4 << 30),
        (" 1mib ", 1 << 20),
    ],
)
def test_sizes(text: str, size: int) -> None:
    """With a unit, of thousands or of 1024, or without one."""
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1", "1e9", "1 banana", "nan", "1iB B", "٣"])
def test_what_is_none(text: str) -> None:
    """Everything else is refused."""
    with pytest.raises(ValueError, match="no size"):
        parse_size(text)
