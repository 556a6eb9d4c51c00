"""Tables on the terminal."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["as_table"]


def as_table(rows: Iterable[tuple[str, ...]]) -> str:
    """Return rows as lines whose columns are aligned; the first row has the titles, and an empty cell is a dash."""
    table = [[cell or "-" for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    )
