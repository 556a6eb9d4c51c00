"""What the log says of strangers: one line at once, later one with how many more, and nothing when there are none."""

from __future__ import annotations

import asyncio
import logging

import pytest

from rpc_magic.server.strangers import StrangerLog, on_one_line


def test_many_are_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    """However many come, the first is told, and the rest is counted; another kind is another line."""

    async def flood() -> None:
        notes = StrangerLog(seconds=0.05)
        for _ in range(1000):
            notes.note("it had a wrong token")
        notes.note("it speaks another protocol")
        await asyncio.sleep(0.3)  # the loop's timers run in their order, however late they are

    with caplog.at_level(logging.WARNING):
        asyncio.run(flood())
    assert [record.getMessage() for record in caplog.records] == [
        "a connection was closed before its proof: it had a wrong token",
        "a connection was closed before its proof: it speaks another protocol",
        "999 more were closed within 0.05 s: it had a wrong token",
    ]


def test_on_one_line() -> None:
    """Line ends, escape sequences and bytes of no meaning are marks; what is long is cut."""
    assert on_one_line("ann@lab", 100) == "ann@lab"
    assert on_one_line("ann\n2026 rpc_magic: \x1b[2Jnothing\u2028", 100) == "ann?2026 rpc_magic: ?[2Jnothing?"
    assert on_one_line("x" * 1000, 10) == "x" * 10
